"""The limits for each address, on a second nginx of the same stack whose limits are low."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from .client import Client, Socket, problem, told
from .eventually import eventually
from .expected import fibonacci
from .stack import Stack, docker

pytestmark = pytest.mark.compose

_RATE, _BURST, _SOCKETS = 2, 5, 3


@pytest.fixture
def narrow(stack: Stack) -> Iterator[Client]:
    """A client of an nginx that grants few posts a second and few sockets."""
    nginx = stack.container("nginx").inspect()
    limits = {"POST_RATE": _RATE, "POST_BURST": _BURST, "SOCKETS_PER_ADDRESS": _SOCKETS}
    (network,) = nginx["NetworkSettings"]["Networks"]
    (place, options), *_ = nginx["HostConfig"]["Tmpfs"].items()
    id = docker(
        "run", "--detach", "--rm", "--network", network, "--publish", "127.0.0.1::8080",
        "--tmpfs", f"{place}:{options}",
        *(part for name, value in limits.items() for part in ("--env", f"{name}={value}")),
        nginx["Image"],
    ).strip()  # fmt: skip
    try:
        address = docker("port", id, "8080").split()[0]
        with Client(f"http://{address}") as client:
            eventually(lambda: answers(client), "the second nginx answering")
            yield client
    finally:
        docker("stop", id)


def test_who_posts_too_fast_gets_429_and_is_told_when_to_come_back(narrow: Client) -> None:
    responses = [narrow.request("POST", "/fib", content=b"n=10", headers=_FORM) for _ in range(_BURST * 4)]
    refused = [response for response in responses if response.status_code != 202]
    assert len(responses) - len(refused) >= _BURST
    assert len(refused) >= _BURST
    for response in refused:
        problem(response, 429)
        assert int(response.headers["Retry-After"]) >= 1, told(response)
    time.sleep(int(refused[-1].headers["Retry-After"]))
    assert narrow.request("POST", "/fib", content=b"n=10", headers=_FORM).status_code == 202


def test_the_page_is_served_however_fast_one_asks(narrow: Client) -> None:
    assert {narrow.request("GET", "/").status_code for _ in range(_BURST * 4)} == {200}


def test_who_opens_too_many_sockets_gets_429_until_one_is_closed(narrow: Client) -> None:
    with ExitStack() as opened:
        first, *_ = [opened.enter_context(narrow.private()) for _ in range(_SOCKETS)]
        with pytest.raises(InvalidStatus) as refusal, narrow.private():
            pass
        assert refusal.value.response.status_code == 429
        first.__exit__()
        again = eventually(lambda: try_to_open(narrow), "a socket being granted again")
        opened.callback(again.__exit__)
        assert again.result(narrow.submit(10))["value"] == fibonacci(10)


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
