"""A queue of three nodes and two of each service: any one of them may end, and nothing is lost or done twice."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Event as Flag
from uuid import uuid4

import httpx
import pytest

from .client import Client, Job, problem, told
from .cluster import NODES, STREAMS, Cluster
from .eventually import eventually
from .expected import fibonacci
from .stack import Container, docker, is_settled, monitoring, run, streams

pytestmark = pytest.mark.cluster

_POSTERS = 4
_LOAD_S = 6
# A stream has a new leader within 9 s (docs/scaling.md); the rest is for a busy machine.
_LONGEST_PAUSE_S = 12
_HTTP_PORT = 8000


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, base_url: str) -> Cluster:
    cluster = Cluster(request.config.getoption("--cluster-project"), base_url)
    cluster.wait_until_healed()
    return cluster


@pytest.fixture(autouse=True)
def healed_again(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.wait_until_healed()


def test_every_node_has_a_copy_of_each_stream_and_of_its_consumers(cluster: Cluster) -> None:
    for name in NODES:
        held = streams(cluster.node(name))
        assert {stream: held[stream]["config"]["num_replicas"] for stream in STREAMS} == dict.fromkeys(STREAMS, 3)
        consumers = {consumer["name"]: consumer for consumer in held["JOBS"]["consumer_detail"]}
        assert consumers.keys() == {"small", "large"}
        for consumer in consumers.values():
            assert len(consumer["cluster"]["replicas"]) == 2, consumer


def test_the_nodes_agree_on_passwords_that_were_generated(cluster: Cluster) -> None:
    for user in ("web", "calculator", "websocket", "routes"):
        read = [cluster.node(name).exec("cat", f"/credentials/{user}/password").stdout for name in NODES]
        assert len(set(read)) == 1 and len(read[0]) == 64, user


def test_a_node_refuses_a_volume_whose_jobs_the_cluster_would_delete(cluster: Cluster) -> None:
    image = cluster.node("queue").inspect()["Image"]
    nodes = ("--env", "QUEUE_NODES=a,b,c", "--env", "QUEUE_NODE=a", "--env", "SYNC_INTERVAL=always")
    of_one_node = "mkdir -p /data/jetstream/JOBS && exec entrypoint.sh"
    refused = run("docker", "run", "--rm", *nodes, "--entrypoint", "sh", image, "-c", of_one_node)
    assert refused.returncode == 1 and "empty volume" in refused.stderr, refused


def test_both_containers_of_each_service_get_work(cluster: Cluster, client: Client) -> None:
    before = {user: received(cluster, user) for user in ("web", "calculator")}
    with client.private() as listening, ExitStack() as sockets:
        for _ in range(8):
            sockets.enter_context(client.bare())
        listening.results([client.submit(n) for n in range(200)], within_s=60)
        for websocket in cluster.containers("websocket"):
            assert open_connections(websocket) >= 2, websocket
    for user, messages in before.items():
        assert len(messages) == 2, messages
        assert all(now > messages[id] for id, now in received(cluster, user).items()), (user, messages)


def test_a_socket_goes_on_at_the_other_process(cluster: Cluster, client: Client) -> None:
    first, second = (
        Client(f"http://{address(websocket)}:{_HTTP_PORT}") for websocket in cluster.containers("websocket")
    )
    first.token = second.token = client.token
    with first, second:
        with first.private() as listening, second.private() as other:
            jobs = [client.submit(n) for n in range(20)]
            results = listening.results(jobs)
            # Both follow the same log, so the same event has the same place.
            assert other.results(jobs) == results
        places = sorted(event["seq"] for event in results.values())
        for left in (0, 7, 18):
            with second.private(since=places[left]) as listening:
                missing = [job for job in jobs if results[job.id]["seq"] > places[left]]
                assert listening.results(missing) == {job.id: results[job.id] for job in missing}
                assert "gap" not in {event["type"] for event in listening.seen}, str(listening)


def test_a_job_that_two_calculators_finish_ends_once(cluster: Cluster, client: Client, max_n: int) -> None:
    calculators = cluster.containers("calculator")
    with client.private() as listening, ExitStack() as frozen:
        since = listening.result(client.submit(1))["seq"]
        before = {calculator: cpu_ticks(calculator) for calculator in calculators}
        job = client.submit(max_n)
        listening.until(lambda event: event["type"] == "started", "start")
        thaw = {calculator: frozen.enter_context(stopped(calculator)) for calculator in calculators}
        first, second = sorted(calculators, key=lambda calculator: before[calculator] - cpu_ticks(calculator))
        # The queue gives the job to the other one, which finishes it.
        thaw[second]()
        again = listening.until(lambda event: event["type"] == "started", "second start", within_s=60)
        assert again["attempt"] == 2, again
        listening.result(job, within_s=60)
        # Then the first one finishes it, too, and only after that takes another large job.
        with stopped(second):
            thaw[first]()
            later = client.submit(2_000_000)
            listening.result(later, within_s=60)
    eventually(lambda: is_settled(cluster.leader("JOBS")), "all jobs being acknowledged", 60)
    ends = client.ends(since)
    assert [len(ends[id]) for id in (job.id, later.id)] == [1, 1]


@pytest.mark.parametrize("stream", STREAMS)
def test_a_node_that_is_killed_loses_nothing(cluster: Cluster, client: Client, stream: str) -> None:
    """The leader is killed, because losing it leaves the most to be done."""
    with load(client) as loaded:
        cluster.leader(stream).kill()
    loaded.check(client)


def test_a_node_that_is_told_to_stop_hands_over(cluster: Cluster, client: Client) -> None:
    leader = cluster.leader("JOBS")
    with load(client) as loaded:
        leader.stop()
        assert leader.inspect()["State"]["ExitCode"] == 0
        leader.start()
    loaded.check(client)


def test_a_node_that_loses_its_volume_heals(cluster: Cluster, client: Client) -> None:
    leader = cluster.leader("JOBS")
    with load(client) as loaded:
        docker("kill", leader.id)
        empty_volume(leader)
        leader.start()
        cluster.wait_until_healed()
    loaded.check(client)


@dataclass
class Load:
    """The jobs that were posted during a fault."""

    since: int
    jobs: list[Job] = field(default_factory=list)
    # The longest time from one accepted job to the next.
    longest_pause_s: float = 0

    def check(self, client: Client) -> None:
        """Each accepted job has one result, and it is right. The last job comes after all of them."""
        last = submit(client, 1)
        print(f"{len(self.jobs)} jobs, longest pause {self.longest_pause_s:.1f} s")
        with client.private(since=self.since) as listening:
            results = listening.results([*self.jobs, last], within_s=120)
            # Whatever is published now comes after a second result of any of them.
            assert listening.result(client.submit(2))["value"] == "1"
            ends = [event["id"] for event in listening.seen if event["type"] in ("result", "failed")]
            assert len(ends) == len(set(ends)), str(listening)
            assert "gap" not in {event["type"] for event in listening.seen}, str(listening)
        assert [results[job.id]["value"] for job in self.jobs] == [fibonacci(job.n) for job in self.jobs]
        assert self.longest_pause_s < _LONGEST_PAUSE_S


@contextmanager
def load(client: Client) -> Iterator[Load]:
    """Posts jobs from several threads until the block has ended and for a while longer."""
    stop = Flag()
    with client.private() as listening:
        load = Load(listening.result(client.submit(0))["seq"])
    accepted_at: list[float] = []

    def post() -> None:
        while not stop.is_set():
            load.jobs.append(submit(client, len(load.jobs) % 1000))
            accepted_at.append(time.monotonic())

    with ThreadPoolExecutor(_POSTERS) as pool:
        posting: list[Future[None]] = [pool.submit(post) for _ in range(_POSTERS)]
        try:
            eventually(lambda: len(load.jobs) > 50, "load")
            yield load
            stop.wait(_LOAD_S)
        finally:
            stop.set()
        for future in posting:
            future.result()
    accepted_at.sort()
    load.longest_pause_s = max(after - before for before, after in pairwise(accepted_at))


def submit(client: Client, n: int) -> Job:
    """Posts a job, again with the same id while there is no 202."""
    id = str(uuid4())
    return eventually(lambda: try_to_submit(client, n, id), "a job being accepted", 60)


def try_to_submit(client: Client, n: int, id: str) -> Job | None:
    """The job if it got a 202. A broken connection and a 503 are what an outage looks like."""
    try:
        response = client.post_json({"n": n, "client": client.token, "id": id})
    except httpx.TransportError:
        return None
    if response.status_code != 202:
        assert response.status_code in (502, 503, 504), told(response)
        problem(response, response.status_code)
        return None
    return Job(**response.json())


def received(cluster: Cluster, user: str) -> dict[str, int]:
    """How many messages the queue has received from each container of a service, by its address."""
    messages: dict[str, int] = {}
    for name in NODES:
        for connection in monitoring(cluster.node(name), "/connz?limit=1024")["connections"]:
            if connection["name"] == user:
                messages[connection["ip"]] = connection["in_msgs"]
    return messages


def open_connections(container: Container) -> int:
    """How many connections to its HTTP port come from another container."""
    lines = [line.split() for line in container.proc("net/tcp").splitlines()[1:]]
    established = "01"
    return sum(local.endswith(f":{_HTTP_PORT:04X}") and state == established for _, local, _, state, *_ in lines)


@contextmanager
def stopped(container: Container) -> Iterator[Callable[[], None]]:
    """Stops its process, at once and without its connections being closed. Yields what lets it go on earlier."""
    pid = container.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield lambda: os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGCONT)


def cpu_ticks(container: Container) -> int:
    """How long its process has run so far."""
    user, system = container.proc("stat").rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def address(container: Container) -> str:
    (front,) = [ip for name, ip in container.networks().items() if name.endswith("_front")]
    return front


def empty_volume(node: Container) -> None:
    """Removes all that a stopped node has on its disk."""
    image = node.inspect()["Image"]
    docker("run", "--rm", "--volumes-from", node.id, "--entrypoint", "sh", image, "-c", "rm -rf /data/*")
