"""A socket that misbehaves is closed with a code that says why, and other sockets are not affected."""

from collections.abc import Iterator

import pytest

from .client import Client
from .expected import fibonacci
from .raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, frame

LIMIT = 4096


@pytest.fixture(autouse=True)
def the_service_goes_on(client: Client) -> Iterator[None]:
    """Another client is connected all the while, and gets its result afterwards."""
    with client.private() as socket:
        yield
        assert socket.result(client.submit(10))["value"] == fibonacci(10)


BAD = {
    "a text of more than 4 KiB": (frame(TEXT, b"x" * (LIMIT + 1)), 1009),
    "a binary of more than 4 KiB": (frame(BINARY, b"x" * (LIMIT + 1)), 1009),
    "a frame that announces 1 TiB": (frame(TEXT, announce=1 << 40), 1009),
    "a fragmented text of more than 4 KiB": (
        frame(TEXT, b"x" * 3000, final=False) + frame(CONTINUATION, b"x" * 3000), 1009),
    "a text that is not UTF-8": (frame(TEXT, b"\xc3\x28"), 1007),
    "a text that ends within a character": (frame(TEXT, b"\xe2\x82"), 1007),
    "a frame without a mask": (frame(TEXT, b"hello", masked=False), 1002),
    "a reserved bit": (frame(TEXT, b"hello", reserved=0b100), 1002),
    "an undefined opcode": (frame(0x3, b"hello"), 1002),
    "an undefined control opcode": (frame(0xB, b"hello"), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"hello"), 1002),
    "a text within a fragmented text": (frame(TEXT, b"a", final=False) + frame(TEXT, b"b"), 1002),
    "a fragmented ping": (frame(PING, b"a", final=False), 1002),
    "a ping of more than 125 bytes": (frame(PING, b"x" * 126), 1002),
    "a close frame of one byte": (frame(CLOSE, b"x"), 1002),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_frame_closes_with_its_code(client: Client, what: str) -> None:
    sent, code = BAD[what]
    with RawSocket(client.base_url) as socket:
        assert socket.status == 101, (socket.status, socket.headers)
        socket.send(sent)
        assert socket.close_code() == code
        assert socket.ended()


def test_a_ping_is_answered_with_its_payload(client: Client) -> None:
    with RawSocket(client.base_url, f"/ws?client={client.token}") as socket:
        socket.send(frame(PING, b"are you there"))
        assert socket.receive() == (PONG, b"are you there")


def test_a_close_is_answered_with_a_close(client: Client) -> None:
    with RawSocket(client.base_url) as socket:
        socket.send(frame(CLOSE, (1000).to_bytes(2, "big")))
        assert socket.close_code() == 1000
        assert socket.ended()


def test_a_client_that_vanishes_does_not_affect_others(client: Client) -> None:
    for _ in range(20):
        with RawSocket(client.base_url, f"/ws?client={client.token}") as socket:
            socket.send(frame(TEXT, announce=100)[:3])


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://evil.example:8080", "null", "http://localhost.evil.example", "file://", "x"],
)
def test_a_foreign_origin_is_closed_with_1008(client: Client, origin: str) -> None:
    with RawSocket(client.base_url, headers={"Origin": origin}) as socket:
        assert socket.status == 101, (socket.status, socket.headers)
        assert socket.close_code() == 1008


def test_the_same_host_on_another_port_is_a_foreign_origin(client: Client) -> None:
    host = client.origin.rpartition(":")[0]
    with RawSocket(client.base_url, headers={"Origin": f"{host}:1"}) as socket:
        assert socket.close_code() == 1008


def test_the_page_s_own_origin_is_welcome(client: Client) -> None:
    with client.socket(origin=client.origin, client=client.token) as socket:
        assert socket.result(client.submit(10))["value"] == fibonacci(10)


@pytest.mark.parametrize("token", ["", "short", "a" * 15, "a" * 65, "a" * 16 + "/", "a" * 16 + ".", "a" * 16 + "*",
                                   "a" * 16 + ">", "a" * 16 + " ", "é" * 16, "\x00" * 16])  # fmt: skip
def test_a_bad_token_is_closed_with_1008(client: Client, token: str) -> None:
    with client.socket(client=token) as socket:
        assert socket.closed() == 1008


@pytest.mark.parametrize("since", ["", "-1", "1.5", "x", "1e3", " 1", str(2**64), "9" * 100])
def test_a_bad_since_is_closed_with_1008(client: Client, since: str) -> None:
    with client.socket(client=client.token, since=since) as socket:
        assert socket.closed() == 1008


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": None, "Connection": None, "Sec-WebSocket-Key": None, "Sec-WebSocket-Version": None},
        {"Upgrade": "h2c"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Key": None},
    ],
    ids=["plain", "other protocol", "old version", "no version", "no key"],
)
def test_a_request_that_is_not_a_handshake_is_refused(client: Client, headers: dict[str, str | None]) -> None:
    with RawSocket(client.base_url, headers=headers) as socket:
        assert 400 <= socket.status < 500, (socket.status, socket.headers)
