"""The limits per address, on a second nginx of the same stack with low limits."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from .client import Client, Socket, problem, told
from .eventually import eventually
from .expected import fibonacci
from .stack import Stack, docker

pytestmark = pytest.mark.compose

_RATE, _BURST, _REQUESTS, _SOCKETS = 2, 5, 4, 3

# 20 000 connections, in three processes because a process may only have a limited number of open files.
_FLOOD_PROCESSES, _FLOOD_EACH = 3, 6_667
_FLOOD_S = 60

# Opens connections to an address and sends the start of a request on each. Then, until stdin ends, it sends
# another byte every few seconds, so that no timeout between two bytes ends the request. Closing resets the
# connections, so that their ports are free again at once.
_FLOOD = """
import select, socket, struct, sys, time
address, count, start, more = sys.argv[1], int(sys.argv[2]), *map(bytes.fromhex, sys.argv[3:])
held = []
sent = time.monotonic()

def send_more():
    global sent
    if not more or time.monotonic() - sent < 4:
        return
    for connection in held:
        try:
            connection.send(more)
        except OSError:
            pass
    sent = time.monotonic()

while len(held) < count:
    connection = socket.create_connection((address, 8080), timeout=10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if start:
        connection.sendall(start)
    held.append(connection)
    send_more()
print("held", flush=True)
while not select.select([sys.stdin], [], [], 1)[0]:
    send_more()
"""

# Requests the page once a second, and prints the status of each response and after how many seconds it came.
_VISIT = """
import json, socket, sys, time
answers = []
for _ in range(5):
    asked = time.monotonic()
    with socket.create_connection((sys.argv[1], 8080), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
        status = connection.makefile("rb").readline().split()[1].decode()
    answers.append((status, time.monotonic() - asked))
    time.sleep(1)
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Nginx:
    """The second nginx, which allows an address few posts, few requests and few sockets."""

    id: str
    url: str
    # On the network of the stack, where clients in other containers have addresses of their own.
    address: str

    def workers(self) -> set[str]:
        """The process ids of its workers."""
        processes = docker("top", self.id, "-eo", "pid,args").splitlines()
        return {line.split()[0] for line in processes if "worker process" in line}


@pytest.fixture
def nginx(stack: Stack) -> Iterator[Nginx]:
    nginx = stack.container("nginx").inspect()
    limits = {
        "POST_RATE": _RATE, "POST_BURST": _BURST, "REQUESTS_PER_ADDRESS": _REQUESTS, "SOCKETS_PER_ADDRESS": _SOCKETS,
    }  # fmt: skip
    (network,) = nginx["NetworkSettings"]["Networks"]
    (place, options), *_ = nginx["HostConfig"]["Tmpfs"].items()
    id = docker(
        "run", "--detach", "--rm", "--network", network, "--publish", "127.0.0.1::8080",
        "--tmpfs", f"{place}:{options}", "--memory", str(nginx["HostConfig"]["Memory"]),
        *(part for name, value in limits.items() for part in ("--env", f"{name}={value}")),
        nginx["Image"],
    ).strip()  # fmt: skip
    try:
        (inspected,) = json.loads(docker("inspect", id))
        address = inspected["NetworkSettings"]["Networks"][network]["IPAddress"]
        second = Nginx(id, f"http://{docker('port', id, '8080').split()[0]}", address)
        with Client(second.url) as client:
            eventually(lambda: answers(client), "the second nginx answering")
        yield second
    finally:
        docker("stop", id)


@pytest.fixture
def narrow(nginx: Nginx) -> Iterator[Client]:
    """A client of the second nginx."""
    with Client(nginx.url) as client:
        yield client


def test_posting_too_fast_gets_429_and_a_time_to_come_back(narrow: Client) -> None:
    responses = [narrow.request("POST", "/fib", content=b"n=10", headers=_FORM) for _ in range(_BURST * 4)]
    refused = [response for response in responses if response.status_code != 202]
    assert len(responses) - len(refused) >= _BURST
    assert len(refused) >= _BURST
    for response in refused:
        problem(response, 429)
        assert int(response.headers["Retry-After"]) >= 1, told(response)
    time.sleep(int(refused[-1].headers["Retry-After"]))
    assert narrow.request("POST", "/fib", content=b"n=10", headers=_FORM).status_code == 202


def test_the_page_is_served_however_often_it_is_requested(narrow: Client) -> None:
    assert {narrow.request("GET", "/").status_code for _ in range(_BURST * 4)} == {200}


def test_opening_too_many_sockets_gets_429_until_one_is_closed(narrow: Client) -> None:
    with ExitStack() as opened:
        first, *_ = [opened.enter_context(narrow.private()) for _ in range(_SOCKETS)]
        with pytest.raises(InvalidStatus) as refusal, narrow.private():
            pass
        assert refusal.value.response.status_code == 429
        first.__exit__()
        again = eventually(lambda: try_to_open(narrow), "a socket being granted again")
        opened.callback(again.__exit__)
        assert again.result(narrow.submit(10))["value"] == fibonacci(10)


def test_streams_of_events_count_together_with_sockets(narrow: Client) -> None:
    with ExitStack() as opened:
        for _ in range(_SOCKETS - 1):
            opened.enter_context(narrow.private())
        with narrow.events() as last:
            assert last.response.status_code == 200
            with narrow.events() as refused:
                problem(refused.response, 429)
                assert int(refused.response.headers["Retry-After"]) >= 1


def test_too_many_requests_in_progress_get_429_until_one_ends(narrow: Client) -> None:
    with ExitStack() as opened:
        first, *_ = [opened.enter_context(unfinished_get(narrow)) for _ in range(_REQUESTS)]
        problem(narrow.request("GET", "/"), 429)
        # Sockets are counted separately.
        opened.enter_context(narrow.private())
        first.close()
        eventually(lambda: answers(narrow), "a request being granted again")


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"x"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", b"x"),
    ],
    ids=["nothing sent", "kept alive", "incomplete headers", "incomplete body"],
)
def test_one_address_with_20_000_connections_does_not_shut_out_others(
    stack: Stack, nginx: Nginx, start: bytes, more: bytes
) -> None:
    # A worker that is killed for using too much memory takes the sockets of all of its clients with it.
    workers = nginx.workers()
    assert len(workers) == 2
    with ExitStack() as floods:
        flooding = [floods.enter_context(flood(nginx, start, more)) for _ in range(_FLOOD_PROCESSES)]
        for process in flooding:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n", "connections could not be opened"
        # From another address.
        visit = stack.container("web").in_its_network(sys.executable, "-c", _VISIT, nginx.address)
        assert visit.returncode == 0, visit.stderr
        answers = json.loads(visit.stdout)
        assert [status for status, _ in answers] == ["200"] * len(answers), answers
        assert max(took_s for _, took_s in answers) < 1, answers
    assert nginx.workers() == workers, docker("logs", "--tail", "20", nginx.id)


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def answers(client: Client) -> bool:
    try:
        return client.request("GET", "/").status_code == 200
    except httpx.TransportError:
        return False


def try_to_open(client: Client) -> Socket | None:
    try:
        return client.private().__enter__()
    except InvalidStatus:
        return None


@contextmanager
def unfinished_get(client: Client) -> Iterator[socket.socket]:
    """A request for the page whose body never comes, so that it stays in progress."""
    address = urlsplit(client.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
        # nginx has counted the request when it asks for the body.
        status = connection.makefile("rb").readline().split()[1]
        assert status == b"100", status
        yield connection


@contextmanager
def flood(nginx: Nginx, start: bytes, more: bytes) -> Iterator["subprocess.Popen[str]"]:
    """A process that opens its part of the connections, all from the address of this machine."""
    command = [sys.executable, "-c", _FLOOD, nginx.address, str(_FLOOD_EACH), start.hex(), more.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            # Closing stdin makes the process end.
            process.communicate(timeout=_FLOOD_S)
