"""The permissions of each service's user on the queue, tried with its own password over the NATS protocol."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .client import Client
from .stack import Container, Stack

pytestmark = pytest.mark.compose

_PORT = 4222
_ANSWER_S = 5


@pytest.mark.parametrize("user", ["web", "calculator", "websocket"])
def test_a_service_s_own_user_is_let_in(stack: Stack, user: str) -> None:
    assert errors_of(stack, user, f"SUB _INBOX_{user}.e2e 1") == []


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("web", "SUB results.> 1"),
        ("web", "SUB jobs.> 1"),
        ("web", "SUB > 1"),
        ("web", "PUB results.public 0\r\n"),
        ("web", "PUB $JS.API.STREAM.MSG.GET.RESULTS 0\r\n"),
        ("web", "PUB $JS.API.DIRECT.GET.RESULTS 0\r\n"),
        ("web", "PUB $JS.API.DIRECT.GET.JOBS 0\r\n"),
        ("web", "PUB $JS.API.CONSUMER.CREATE.JOBS.e2e 0\r\n"),
        ("web", "PUB $JS.API.STREAM.PURGE.JOBS 0\r\n"),
        ("calculator", "SUB results.> 1"),
        ("calculator", "SUB jobs.> 1"),
        ("calculator", "PUB jobs.small 0\r\n"),
        ("calculator", "PUB $JS.API.STREAM.DELETE.JOBS 0\r\n"),
        ("calculator", "PUB $JS.API.STREAM.PURGE.RESULTS 0\r\n"),
        ("calculator", "PUB $JS.API.DIRECT.GET.RESULTS 0\r\n"),
        ("websocket", "SUB jobs.> 1"),
        ("websocket", "SUB _INBOX_web.> 1"),
        ("websocket", "PUB jobs.small 0\r\n"),
        ("websocket", "PUB jobs.large 0\r\n"),
        ("websocket", "PUB results.public 0\r\n"),
        ("websocket", "PUB $JS.API.STREAM.DELETE.RESULTS 0\r\n"),
        ("websocket", "PUB $JS.API.CONSUMER.MSG.NEXT.JOBS.small 0\r\n"),
        ("websocket", "PUB $JS.API.DIRECT.GET.JOBS 0\r\n"),
    ],
)
def test_a_user_may_do_nothing_else(stack: Stack, user: str, command: str) -> None:
    (error,) = errors_of(stack, user, command)
    assert "Permissions Violation" in error


@pytest.mark.parametrize("login", [{}, {"user": "web", "pass": ""}, {"user": "web", "pass": "web"}, {"user": "nobody"}])
def test_nobody_gets_in_without_a_password(stack: Stack, login: dict[str, str]) -> None:
    with connected(stack) as tcp:
        assert ["Authorization Violation" in error for error in errors(tcp, login, "PING")] == [True]


def test_a_password_whose_file_is_removed_is_replaced(stack: Stack, client: Client) -> None:
    queue, web = stack.container("queue"), stack.container("web")
    old = password_of(web)
    assert queue.exec("rm", "/credentials/web/password").returncode == 0
    queue.restart()
    # Web reads the new one by itself.
    stack.wait_until_ready()
    with client.private() as listening:
        assert listening.result(client.submit(10))["value"] == "55"
    assert password_of(web) != old
    with connected(stack) as tcp:
        assert "Authorization Violation" in errors(tcp, {"user": "web", "pass": old}, "PING")[0]


def password_of(container: Container) -> str:
    read = container.exec("cat", "/run/credentials/password")
    assert read.returncode == 0, read.stderr
    return read.stdout


def errors_of(stack: Stack, user: str, command: str) -> list[str]:
    """The errors that `user` gets in reply to one command."""
    with connected(stack) as tcp:
        return errors(tcp, {"user": user, "pass": password_of(stack.container(user))}, command)


@contextmanager
def connected(stack: Stack) -> Iterator[socket.socket]:
    (address,) = stack.container("queue").networks().values()
    with socket.create_connection((address, _PORT), timeout=_ANSWER_S) as tcp:
        yield tcp


def errors(tcp: socket.socket, login: dict[str, str], command: str) -> list[str]:
    """Logs in, sends one command and a PING, and returns the errors that arrive before the PONG."""
    options = {"verbose": False, "pedantic": False, "protocol": 1, **login}
    tcp.sendall(f"CONNECT {json.dumps(options)}\r\n{command}\r\nPING\r\n".encode())
    found: list[str] = []
    with tcp.makefile("rb") as lines:
        for line in lines:
            if line.startswith(b"-ERR"):
                found.append(line.decode().strip())
            if line.startswith(b"PONG"):
                break
    return found
