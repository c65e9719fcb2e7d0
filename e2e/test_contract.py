"""The parts of docs/openapi.yaml and docs/asyncapi.yaml that no other test provokes, and Schemathesis on all of HTTP."""

import asyncio
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import nats
import pytest
from nats.aio.msg import Msg
from websockets.exceptions import InvalidStatus

from .client import FORM, Client, problem
from .contract import check_queue_message, check_response
from .eventually import eventually
from .stack import Container, Stack, docker

_ROOT = Path(__file__).parent.parent
_SERVICE_PORT = 8000
_NATS_PORT = 4222
_ANSWER_S = 10
_BUILD_S = 1800
_SCHEMATHESIS_S = 120


def test_schemathesis_finds_nothing(client: Client, tmp_path: Path) -> None:
    command = [
        "schemathesis", f"--config-file={_ROOT}/e2e/schemathesis.toml", "run", f"{_ROOT}/docs/openapi.yaml",
        f"--url={client.base_url}", "--max-examples=25", "--seed=1", "--no-color",
    ]  # fmt: skip
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "e2e.schemathesis_hooks", "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=_SCHEMATHESIS_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert re.search(rf"✅ +{phase} ", done.stdout), done.stdout


def test_a_file_that_the_client_has_is_a_304(client: Client) -> None:
    tag = client.request("GET", "/static/page.css").headers["ETag"]
    response = client.request("GET", "/static/page.css", headers={"If-None-Match": tag})
    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_post_from_a_page_of_another_site_is_a_403(client: Client, headers: dict[str, str]) -> None:
    response = client.request("POST", "/fib", content=b"n=10", headers={"Content-Type": FORM, **headers})
    problem(response, 403)


def test_a_request_for_a_socket_without_an_upgrade_is_a_426(client: Client) -> None:
    response = client.request("GET", "/ws")
    problem(response, 426)
    assert response.headers["Upgrade"] == "websocket"


Instance = tuple[Client, Callable[[], object]]


@pytest.fixture
def full(request: pytest.FixtureRequest) -> Iterator[Instance]:
    """A client of a second server that admits one client at a time, and what ends that server."""
    if request.config.getoption("--compose-project") is None:
        starting = second_binary("--max-sockets", "1")
    else:
        websocket: Container = request.getfixturevalue("stack").container("websocket")
        starting = ready_websocket(websocket, MAX_SOCKETS="1")
    with starting as instance:
        yield instance


def test_one_client_too_many_is_told_so_and_who_stays_is_told_when_the_server_leaves(full: Instance) -> None:
    client, stop = full
    with client.bare() as first:
        with client.bare() as second:
            assert second.closed() == 1013
        with client.events() as events:
            problem(events.response, 503)
            assert int(events.response.headers["Retry-After"]) >= 1
        stop()
        assert first.closed() == 1001


def test_a_stream_ends_in_good_order_when_the_server_leaves(full: Instance) -> None:
    client, stop = full
    with client.events() as events:
        stop()
        events.read_to_end()


@pytest.fixture
def short_of_memory(request: pytest.FixtureRequest, base_url: str) -> Iterator[Client]:
    """A client of a system whose calculator may use 1 MiB for one number."""
    if request.config.getoption("--compose-project") is None:
        with second_binary("--memory-limit-mib", "1") as (client, _):
            yield client
        return
    stack: Stack = request.getfixturevalue("stack")
    calculator = stack.container("calculator")
    calculator.stop()
    try:
        with second(calculator, MEMORY_LIMIT_MIB="1"), Client(base_url) as client:
            yield client
    finally:
        calculator.start()
        stack.wait_until_ready()


def test_a_number_that_needs_too_much_memory_ends_in_failed(short_of_memory: Client) -> None:
    client = short_of_memory
    with client.private() as socket:
        job = client.submit(10_000_000)
        failed = socket.until(lambda event: event["id"] == job.id, "event", within_s=60)
    assert failed["type"] == "failed", failed
    assert "memory" in failed["reason"], failed


@pytest.fixture
def slow(request: pytest.FixtureRequest, base_url: str) -> Iterator[tuple[Client, int]]:
    """A client of a system that computes on a number for half a second at least, on any machine, and that number."""
    if request.config.getoption("--compose-project") is None:
        options = ("--in-memory", "--threads", "1", "--max-n", "1000000000", "--memory-limit-mib", "2048")
        with second_binary(*options) as (client, _):
            yield client, 1_000_000_000
        return
    calculator: Container = request.getfixturevalue("stack").container("calculator")
    # A tenth of one core.
    docker("update", "--cpu-period", "100000", "--cpu-quota", "10000", calculator.id)
    try:
        with Client(base_url) as client:
            yield client, 100_000_000
    finally:
        docker("update", "--cpu-quota", "-1", calculator.id)


def test_a_job_that_takes_long_says_that_it_is_started_and_how_far_it_is(slow: tuple[Client, int]) -> None:
    client, n = slow
    with client.private() as socket:
        job = client.submit(n)
        progress = socket.until(lambda event: event["type"] == "progress", "progress", within_s=60)
        events = [event for event in socket.seen if event["id"] == job.id]
    assert progress["id"] == job.id, progress
    assert 0 < progress["fraction"] < 1, progress
    assert "started" in {event["type"] for event in events}, events


@pytest.mark.compose
def test_while_the_log_cannot_be_read_sockets_and_streams_get_a_503(stack: Stack) -> None:
    with second_websocket(stack.container("websocket"), QUEUE_URL="nats://127.0.0.1:1") as (client, _):
        with pytest.raises(InvalidStatus) as refusal, client.bare():
            pass
        assert refusal.value.response.status_code == 503
        with client.events() as events:
            problem(events.response, 503)


@pytest.mark.compose
@pytest.mark.parametrize(("service", "path"), [("web", "/"), ("websocket", "/ws"), ("websocket", "/events")])
def test_while_a_service_is_away_its_paths_are_a_502(stack: Stack, client: Client, service: str, path: str) -> None:
    container = stack.container(service)
    container.stop()
    try:
        # Until nginx knows that the address is gone, it waits for an answer: that is a 503.
        eventually(lambda: problem(client.request("GET", path), 502), "a 502")
    finally:
        container.start()
        stack.wait_until_ready()


@pytest.mark.compose
@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /static/%00 HTTP/1.1", 400),
        ("GET /?" + "a" * 70_000 + " HTTP/1.1", 414),
        ("GET / HTTP/1.1\r\nX-Long: " + "a" * 70_000, 431),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip", 501),
        ("GET / HTTP/2.0", 505),
        ("TRACE / HTTP/1.1", 405),
        ("TRACE /fib HTTP/1.1", 405),
        ("TRACE /events HTTP/1.1", 405),
    ],
    ids=lambda value: re.sub(r"a{9,}", "aaa…", str(value)),
)
def test_what_nginx_refuses_itself_is_a_problem(client: Client, head: str, status: int) -> None:
    method, path, _ = head.split(" ", 2)
    answered, headers, body = ask_raw(client.base_url, head)
    assert answered == status, (answered, headers, body)
    check_response(method, path.partition("?")[0], status, headers, lambda: body)
    if status == 405:
        assert headers["Allow"] == ("POST" if path == "/fib" else "GET, HEAD")


@pytest.mark.compose
def test_the_queue_holds_events_as_documented(stack: Stack, client: Client) -> None:
    with client.private() as listening:
        event = listening.result(client.submit(10))
    login = login_of(stack, "websocket")
    stored = ask_queue(login, "$JS.API.DIRECT.GET.RESULTS", {"seq": event["seq"]})
    check_queue_message("event", own_headers(stored), stored.data)
    assert {**json.loads(stored.data), "seq": event["seq"]} == event


@pytest.mark.compose
def test_the_queue_holds_jobs_as_documented(stack: Stack, client: Client) -> None:
    calculator = stack.container("calculator")
    login = login_of(stack, "calculator")
    with client.private() as listening:
        calculator.stop()
        try:
            job = client.submit(11)
            waiting = ask_queue(login, "$JS.API.CONSUMER.MSG.NEXT.JOBS.small", {"batch": 1})
        finally:
            calculator.start()
            stack.wait_until_ready()
        check_queue_message("job", own_headers(waiting), waiting.data)
        assert json.loads(waiting.data)["id"] == own_headers(waiting)["Nats-Msg-Id"] == job.id
        # It was not acknowledged, so it is delivered again.
        assert listening.result(job, within_s=60)["value"] == "89"


@contextmanager
def second_binary(*arguments: str) -> Iterator[Instance]:
    """A client of a second standalone binary with these arguments, and what ends it."""
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=_ROOT, timeout=_BUILD_S, check=True)
    command = [str(_ROOT / "target/release/fibwire"), "--listen", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found is not None, process.stderr.read()
            with Client(found[0]) as client:
                yield client, process.terminate
        finally:
            process.terminate()
            process.communicate(timeout=_ANSWER_S)


@contextmanager
def ready_websocket(websocket: Container, **environment: str) -> Iterator[Instance]:
    """The same as `second_websocket`, connected to the queue."""
    with second_websocket(websocket, **environment) as instance:
        eventually(lambda: is_ready(instance[0]), "the second websocket service being ready")
        yield instance


@contextmanager
def second_websocket(websocket: Container, **environment: str) -> Iterator[Instance]:
    """A client of a second websocket service without nginx, and what ends it."""
    with second(websocket, **environment) as id:
        networks: dict[str, dict[str, str]] = json.loads(docker("inspect", id))[0]["NetworkSettings"]["Networks"]
        address = next(network["IPAddress"] for network in networks.values())
        eventually(lambda: answers(address), "the second websocket service answering")
        with Client(f"http://{address}:{_SERVICE_PORT}") as client:
            yield client, lambda: docker("stop", id)


def answers(address: str) -> bool:
    with socket.create_connection((address, _SERVICE_PORT), timeout=1):
        return True


def is_ready(client: Client) -> bool:
    return httpx.get(f"{client.base_url}/healthz", trust_env=False).status_code == 200


@contextmanager
def second(container: Container, **environment: str) -> Iterator[str]:
    """The id of a second container of a service, which differs in its environment."""
    inspected = container.inspect()
    first, *others = container.networks()
    id = docker(
        "create", "--network", first, "--volumes-from", f"{container.id}:ro", "--read-only",
        *(part for line in inspected["Config"]["Env"] for part in ("--env", line)),
        *(part for name, value in environment.items() for part in ("--env", f"{name}={value}")),
        inspected["Image"],
    ).strip()  # fmt: skip
    try:
        for network in others:
            docker("network", "connect", network, id)
        docker("start", id)
        yield id
    finally:
        docker("rm", "--force", id)


def ask_raw(base_url: str, head: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to a request that an HTTP client would not send."""
    parts = urlsplit(base_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=_ANSWER_S) as tcp:
        tcp.sendall(f"{head}\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        with tcp.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            headers = {}
            while line := answer.readline().decode().strip():
                name, _, value = line.partition(":")
                headers[name] = value.strip()
            return status, headers, answer.read()


@dataclass(frozen=True)
class Login:
    """How one of the services logs in to the queue."""

    address: str
    user: str
    password: str


def login_of(stack: Stack, service: str) -> Login:
    password = stack.container(service).exec("cat", "/run/credentials/password")
    assert password.returncode == 0, password.stderr
    (address,) = stack.container("queue").networks().values()
    return Login(f"nats://{address}:{_NATS_PORT}", service, password.stdout.strip())


def ask_queue(login: Login, subject: str, request: dict[str, int]) -> Msg:
    """The queue's answer to a request of one of the services."""
    # In a thread of its own, because Playwright has an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _ask_queue(login, subject, request)).result()


async def _ask_queue(login: Login, subject: str, request: dict[str, int]) -> Msg:
    connection = await nats.connect(
        login.address,
        user=login.user,
        password=login.password,
        inbox_prefix=f"_INBOX_{login.user}".encode(),
        allow_reconnect=False,
    )
    try:
        # The answer to a request for a job is the job itself, whose subject is that of its lane. The newer style
        # finds the request by the subject of the answer, and would not find it.
        return await connection.request(subject, json.dumps(request).encode(), timeout=_ANSWER_S, old_style=True)
    finally:
        await connection.close()


def own_headers(message: Msg) -> dict[str, str]:
    """The headers that a service sent, without those that the queue adds to an answer."""
    headers = message.headers or {}
    return {name: value for name, value in headers.items() if name == "Nats-Msg-Id" or not name.startswith("Nats-")}
