"""The compose stack as seen from outside: its containers, their processes and their networks."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import WebSocketException

from .client import Client
from .eventually import eventually

SERVICES = ("nginx", "web", "queue", "calculator", "websocket")

_COMMAND_S = 60
_HEALTHY_S = 60
# Counted from when all are healthy. Only nginx may still need time then, to resolve a new address.
_WORKS_S = 5
# A job that its calculator has lost is delivered again after 10 s.
_SETTLED_S = 60
_MONITORING = "http://127.0.0.1:8222"


@dataclass(frozen=True)
class Stack:
    """The running containers of one compose project, and their address."""

    project: str
    base_url: str

    def container(self, service: str) -> "Container":
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        filters = [part for key, value in labels.items() for part in ("--filter", f"label={key}={value}")]
        ids = docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()
        assert len(ids) == 1, f"service {service} of project {self.project} has containers {ids}"
        return Container(service, ids[0])

    def containers(self) -> list["Container"]:
        return [self.container(service) for service in SERVICES]

    def wait_until_ready(self) -> None:
        """Waits until all are healthy and a job gets its result: nginx may need a second to resolve a new address."""
        for container in self.containers():
            container.wait_until_healthy()
        eventually(self._works, "a job coming through", _WORKS_S)

    def wait_until_settled(self) -> None:
        """Waits until no job waits or is worked on, so that nothing more is delivered."""
        queue = self.container("queue")
        eventually(lambda: is_settled(queue), "all jobs being acknowledged", _SETTLED_S)

    def _works(self) -> bool:
        try:
            with Client(self.base_url) as client, client.private() as socket:
                return bool(socket.result(client.submit(1))["value"] == "1")
        except (httpx.TransportError, WebSocketException):
            return False


@dataclass(frozen=True)
class Container:
    service: str
    id: str

    def inspect(self) -> dict[str, Any]:
        inspected: list[dict[str, Any]] = json.loads(docker("inspect", self.id))
        return inspected[0]

    @property
    def pid(self) -> int:
        pid = self.inspect()["State"]["Pid"]
        assert pid > 0, f"{self.service} is not running"
        return int(pid)

    def restart(self) -> None:
        docker("restart", self.id)

    def stop(self) -> None:
        docker("stop", self.id)

    def start(self) -> None:
        docker("start", self.id)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freezes all of its processes: connections to it stay open, but nothing answers."""
        # The kernel does not always freeze a process that waits for the disk, and Docker then gives up.
        eventually(lambda: docker("pause", self.id), f"{self.service} being frozen")
        try:
            yield
        finally:
            docker("unpause", self.id)

    def kill(self) -> None:
        """Sends SIGKILL from outside. Docker did not stop the container itself, so its restart policy applies."""
        before = self.inspect()
        os.kill(before["State"]["Pid"], signal.SIGKILL)
        eventually(
            lambda: self.inspect()["State"]["StartedAt"] != before["State"]["StartedAt"],
            f"{self.service} starting again by itself",
            _HEALTHY_S,
        )

    def wait_until_healthy(self) -> None:
        """Runs its health check here, because Docker runs it only every few seconds."""
        _, *check = self.inspect()["Config"]["Healthcheck"]["Test"]

        def healthy() -> bool:
            done = self.exec(*check)
            assert done.returncode == 0, done.stdout + done.stderr
            return True

        eventually(healthy, f"{self.service} being healthy (docker logs {self.id[:12]})", _HEALTHY_S)

    def networks(self) -> dict[str, str]:
        """The name of each network that it is on, and its address there."""
        networks = self.inspect()["NetworkSettings"]["Networks"]
        return {name: network["IPAddress"] for name, network in networks.items()}

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run("docker", "exec", self.id, *command)

    def in_its_network(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of this machine in the container's network, so that the image need not contain it."""
        nsenter = shutil.which("nsenter")
        assert nsenter is not None, "nsenter (util-linux) is needed"
        return run(nsenter, "--target", str(self.pid), "--net", *command)

    def proc(self, file: str) -> str:
        """A file in /proc about its main process."""
        return Path(f"/proc/{self.pid}/{file}").read_text()


def monitoring(queue: Container, path: str) -> dict[str, Any]:
    """The state of the queue, or of one of its nodes, from its monitoring port."""
    answer = queue.exec("wget", "-q", "-O", "-", f"{_MONITORING}{path}")
    assert answer.returncode == 0, answer.stderr
    said: dict[str, Any] = json.loads(answer.stdout)
    return said


def streams(queue: Container) -> dict[str, dict[str, Any]]:
    """The streams that the queue holds, by name."""
    said = monitoring(queue, "/jsz?accounts=true&streams=true&consumers=true&config=true")
    accounts = said["account_details"]
    return {stream["name"]: stream for account in accounts for stream in account.get("stream_detail", [])}


def is_settled(queue: Container) -> bool:
    """Whether no job waits or is worked on. Of several nodes, this is known to the one that leads the jobs."""
    consumers = streams(queue)["JOBS"]["consumer_detail"]
    return not any(consumer["num_pending"] or consumer["num_ack_pending"] for consumer in consumers)


def docker(*arguments: str) -> str:
    done = run("docker", *arguments)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
