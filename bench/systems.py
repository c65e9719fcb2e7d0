"""Starts and stops the systems that are measured: the binary, the five services, the plain system."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import httpx

_IS_UP = "fibwire is up: "
_STOP_S = 10
_SCRAPE_EVERY_S = 1


def say(message: str) -> None:
    print(f"bench: {message}", file=sys.stderr, flush=True)


class Unavailable(Exception):
    """A system that did not start."""


@dataclass(frozen=True)
class Running:
    """A running binary."""

    url: str
    pid: int
    # On the disk where it stores jobs, if it does.
    directory: Path
    # From before the fork to the line that says that it is up.
    start_ms: float


@contextmanager
def binary(
    path: Path, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Runs the binary on a free port. `{data}` in an argument stands for a new, empty directory. `environment` is
    added to the variables of this process.
    """
    with TemporaryDirectory(prefix="bench-", dir=path.parent) as directory:
        options = [argument.format(data=directory) for argument in arguments]
        before = time.perf_counter()
        process = subprocess.Popen(
            [path, "--listen", "127.0.0.1:0", *options],
            env={**os.environ, **(environment or {})},
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        last: deque[str] = deque(maxlen=20)
        # A full pipe would block the binary.
        reader = threading.Thread(target=last.extend, args=(process.stderr,))
        try:
            url = _address(process.stderr, path)
            start_ms = (time.perf_counter() - before) * 1e3
            reader.start()
            yield Running(url, process.pid, Path(directory), start_ms)
        except subprocess.CalledProcessError:
            say(f"{path} logged last:\n{''.join(last)}")
            raise
        finally:
            process.terminate()
            process.wait()
            if reader.ident:
                reader.join()
            process.stderr.close()


def _address(log: IO[str], path: Path) -> str:
    before = []
    for line in log:
        if line.startswith(_IS_UP):
            return line.removeprefix(_IS_UP).strip()
        before.append(line)
    raise Unavailable(f"{path} ended before it was up; it said: {''.join(before).strip()}")


def free_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def scraper(url: str) -> Iterator[None]:
    """Reads the metrics at `url` every second, as Prometheus would."""
    stopped = threading.Event()

    def scrape() -> None:
        with httpx.Client(trust_env=False) as client:
            while not stopped.wait(_SCRAPE_EVERY_S):
                client.get(url).raise_for_status()

    with ThreadPoolExecutor() as executor:
        scraping = executor.submit(scrape)
        try:
            yield
        finally:
            stopped.set()
        # A scrape that failed fails the measurement.
        scraping.result()


@contextmanager
def receiver(root: Path) -> Iterator[str]:
    """Runs the receiver of traces that the tests of the tree in `root` use, and returns its address."""
    command = [sys.executable, str(root / "e2e/otlp_receiver.py"), "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        # It prints what it receives, and a full pipe would block it.
        reader = threading.Thread(target=deque, args=(process.stdout, 0))
        reader.start()
        try:
            yield address
        finally:
            process.terminate()
            reader.join()


def compose_is_ready(root: Path) -> bool:
    """Whether a Docker engine answers. If one does, installs Compose where it is missing."""

    def works(*command: str) -> bool:
        return (
            shutil.which(command[0]) is not None
            and not subprocess.run(command, check=False, capture_output=True).returncode
        )

    if not works("docker", "info"):
        return False
    if not works("docker", "compose", "version"):
        subprocess.run([root / "scripts/need", "docker-compose=docker-compose"], check=True)
    return True


def docker_disk() -> Path | None:
    """The directory in which the Docker engine keeps volumes, if it is on this machine."""
    info = subprocess.run(
        ["docker", "info", "--format", "{{.DockerRootDir}}"], check=True, capture_output=True, text=True
    )
    directory = Path(info.stdout.strip())
    return directory if directory.is_dir() else None


@dataclass(frozen=True)
class Project:
    """A Compose project of the tree in `root`. Its name belongs to that tree, so that trees do not interfere."""

    root: Path
    options: tuple[str, ...] = ()
    suffix: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"fibwire-bench-{zlib.crc32(bytes(self.root))}{self.suffix}"

    def run(self, command: str, *arguments: str, quiet: bool = False, extra: Mapping[str, str] | None = None) -> str:
        """Runs a script of the tree for this project, with extra environment variables. Returns what it printed."""
        project = {
            "COMPOSE_PROJECT_NAME": self.name,
            "LISTEN": "127.0.0.1:0",
        }
        done = subprocess.run(
            [self.root / "scripts" / command, *arguments],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            env={**os.environ, **project, **self.environment, **(extra or {})},
        )
        return done.stdout

    def compose(self, *arguments: str, quiet: bool = False) -> str:
        return self.run("compose", *self.options, *arguments, quiet=quiet)

    def remove(self) -> None:
        self.compose("down", "--volumes", "--timeout", str(_STOP_S), quiet=True)

    @contextmanager
    def removed_afterwards(self) -> Iterator[None]:
        """Removes the containers and volumes at the end, and those that an earlier run has left before."""
        self.remove()
        try:
            yield
        finally:
            self.remove()


class FiveServices:
    """The five services of a tree, with every acknowledged message on disk and nginx's limits raised."""

    def __init__(self, root: Path, *, cluster: bool = False) -> None:
        # All load comes from one address.
        limits = {"POST_RATE": "100000", "POST_BURST": "100000", "SOCKETS_PER_ADDRESS": "1000"}
        environment = {"SYNC_INTERVAL": "always", **limits, **({"CLUSTER": "yes"} if cluster else {})}
        self.project = Project(root, suffix="-cluster" if cluster else "", environment=environment)

    def up(self, *arguments: str, **environment: str) -> str:
        """Starts them, or those whose environment or number has changed, and returns their address. The arguments are
        those of `compose up`.
        """
        printed = self.project.run("up", *arguments, extra=environment)
        print(printed, end="", file=sys.stderr, flush=True)
        addresses = [line.removeprefix(_IS_UP) for line in printed.splitlines() if line.startswith(_IS_UP)]
        return addresses[-1].strip()

    def cpu_us(self) -> dict[str, float]:
        """The CPU time that all containers of each service have used so far. The queue's nodes are one service."""
        label = "com.docker.compose"
        listed = _docker(
            "ps", "--filter", f"label={label}.project={self.project.name}",
            "--format", f'{{{{.ID}}}} {{{{.Label "{label}.service"}}}}',
        )  # fmt: skip
        used: dict[str, float] = {}
        for id, service in sorted((line.split() for line in listed.splitlines()), key=lambda found: found[1]):
            name = re.sub(r"-\d+$", "", service)
            used[name] = used.get(name, 0) + _cpu_us_of(id)
        return used


def _cpu_us_of(container: str) -> float:
    def read(file: str) -> str:
        return _docker("exec", container, "cat", f"/sys/fs/cgroup/{file}")

    try:
        usage = read("cpu.stat")
    except subprocess.CalledProcessError:
        # Version 1 of control groups counts nanoseconds.
        return int(read("cpuacct/cpuacct.usage")) / 1e3
    return float(dict(line.split() for line in usage.splitlines())["usage_usec"])


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


class PlainSystem:
    """The system that most people would write first for the same task (bench/plain)."""

    def __init__(self, root: Path) -> None:
        file = root / "bench/plain/compose.yaml"
        self.project = Project(root, options=("--file", str(file)), suffix="-plain")

    def up(self) -> str:
        """Starts it and returns its address, where it need not answer yet."""
        print(self.project.compose("up", "--build", "--detach"), end="", file=sys.stderr, flush=True)
        return "http://" + self.project.compose("port", "nginx", "8080").strip()

    def stop(self) -> None:
        self.project.compose("stop", "--timeout", str(_STOP_S), quiet=True)
