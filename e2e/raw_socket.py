"""A WebSocket without a library, for frames that a library refuses to send."""

import base64
import os
import socket
import struct
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from .contract import check_close

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_ANSWER_S = 10


def frame(
    opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, masked: bool = True,
    announce: int | None = None,
) -> bytes:  # fmt: skip
    """A frame as bytes. The arguments say what is wrong with it."""
    length = len(payload) if announce is None else announce
    first = (0x80 if final else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", first, mask_bit | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, mask_bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class RawSocket:
    """A TCP connection over which an upgrade was requested. `status` says whether it was granted."""

    def __init__(self, base_url: str, path: str = "/ws", headers: Mapping[str, str | None] | None = None) -> None:
        parts = urlsplit(base_url)
        assert parts.scheme == "http" and parts.hostname is not None, f"raw frames need plain http, not {base_url}"
        usual: dict[str, str | None] = {
            "Host": parts.netloc,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        }
        wanted = {**usual, **(headers or {})}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in wanted.items() if value is not None)]
        self._tcp = socket.create_connection((parts.hostname, parts.port or 80), timeout=_ANSWER_S)
        self._tcp.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self._tcp.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._tcp.close()

    def send(self, data: bytes) -> None:
        self._tcp.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """The opcode and payload of the next frame. A server does not mask or fragment its frames."""
        head = self._file.read(2)
        assert len(head) == 2, "the connection ended without a close frame"
        opcode, length = head[0] & 0x0F, head[1]
        assert head[1] & 0x80 == 0, "a masked frame from the server"
        if length == 126:
            (length,) = struct.unpack("!H", self._file.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._file.read(8))
        return opcode, self._file.read(length)

    def close_code(self) -> int:
        """Reads frames up to the close frame, and returns its code (1005 if it has none)."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                check_close(code)
                return code

    def ended(self) -> bool:
        """Whether the server has closed the connection, as it must after its close frame."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            # It was closed before our whole frame was read.
            return True
