"""The queue's disk is full: nothing that was accepted is lost, and all goes on by itself once there is room."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from .client import Client, Job, problem
from .eventually import eventually
from .expected import length_and_first
from .stack import Container, Stack, docker, run

pytestmark = pytest.mark.compose

_QUEUE = "queue-with-a-small-disk"
# Each result fills two megabytes.
_DISK_MB, _N, _JOBS = 20, 9_000_000, 14
_GOES_ON_S = 90


@dataclass(frozen=True)
class SmallDisk:
    """A second queue with a disk of its own, and the three services that use it."""

    queue: Container
    web_url: str
    websocket_url: str

    def starts(self) -> int:
        return int(self.queue.inspect()["RestartCount"])

    def grow(self) -> None:
        remounted = run(
            "nsenter", "--target", str(self.queue.pid), "--mount", "mount", "-o", "remount,size=400m", "/data"
        )
        assert remounted.returncode == 0, remounted.stderr


@pytest.fixture
def small_disk(stack: Stack) -> Iterator[SmallDisk]:
    with ExitStack() as started:
        volume = started.enter_context(memory_volume(_DISK_MB))
        queue = stack.container("queue")
        image, (network,) = queue.inspect()["Image"], queue.networks()
        on_disk = ("--volume", f"{volume}:/data")
        # The contents of such a volume last for as long as a container has it.
        started.enter_context(container("holder", image, *on_disk, "--entrypoint", "sleep", command=("infinity",)))
        credentials = [
            part
            for mount in queue.inspect()["Mounts"]
            if mount["Destination"].startswith("/credentials/") and mount["Type"] == "volume"
            for part in ("--volume", f"{mount['Name']}:{mount['Destination']}")
        ]
        small = started.enter_context(
            container(
                _QUEUE, image, *on_disk, *credentials, "--network", network, "--network-alias", _QUEUE,
                "--env", "SYNC_INTERVAL=always", "--restart", "unless-stopped",
                "--health-cmd", "healthcheck.sh", "--health-interval", "2s",
            )
        )  # fmt: skip
        services = {
            service: started.enter_context(container_like(stack.container(service), network))
            for service in ("web", "calculator", "websocket")
        }
        urls = {service: f"http://{other.networks()[network]}:8000" for service, other in services.items()}
        yield SmallDisk(small, urls["web"], urls["websocket"])


def test_a_full_disk_loses_nothing_and_needs_no_help(small_disk: SmallDisk) -> None:
    with Client(small_disk.web_url) as client, Client(small_disk.websocket_url) as listener:
        client.token = listener.token
        first = eventually(lambda: try_to_submit(client, 1), "a job being accepted")
        with listener.private(since=0) as listening:
            listening.result(first)
        jobs = [client.submit(_N + index) for index in range(_JOBS)]
        starts = small_disk.starts()
        eventually(lambda: small_disk.starts() > starts, "the queue starting again because it cannot store", _GOES_ON_S)
        # Whatever is accepted now as well must not be lost either.
        jobs += filter(None, (try_to_submit(client, n) for n in range(20)))
        small_disk.grow()
        with listener.private(since=0) as listening:
            results = listening.results([first, *jobs], _GOES_ON_S)
        for job in jobs:
            digits, _ = length_and_first(job.n)
            assert results[job.id]["digits"] == digits, job


def try_to_submit(client: Client, n: int) -> Job | None:
    """The job if it was accepted. While the queue starts or has no room, the answer is a 503."""
    response = client.post_json({"n": n, "client": client.token})
    if response.status_code != 202:
        problem(response, 503)
        return None
    return Job(**response.json())


@contextmanager
def memory_volume(megabytes: int) -> Iterator[str]:
    """A volume in memory that is soon full, for the user of the queue."""
    options = ("type=tmpfs", "device=tmpfs", f"o=size={megabytes}m,uid=65532,gid=65532,mode=0700")
    name = docker("volume", "create", *(part for option in options for part in ("--opt", option))).strip()
    try:
        yield name
    finally:
        docker("volume", "rm", name)


@contextmanager
def container(service: str, image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    id = docker("run", "--detach", *options, image, *command).strip()
    try:
        yield Container(service, id)
    finally:
        docker("rm", "--force", id)


@contextmanager
def container_like(model: Container, network: str) -> Iterator[Container]:
    """Another container of a service, for the queue with the small disk."""
    inspected = model.inspect()
    environment = [entry for entry in inspected["Config"]["Env"] if not entry.startswith("QUEUE_URL=")]
    (mount,) = [mount for mount in inspected["Mounts"] if mount["Destination"] == "/run/credentials"]
    options = [part for entry in environment for part in ("--env", entry)]
    with container(
        model.service, inspected["Image"], *options, "--env", f"QUEUE_URL=nats://{_QUEUE}:4222",
        "--volume", f"{mount['Name']}:/run/credentials:ro", "--network", network,
    ) as started:  # fmt: skip
        yield started
