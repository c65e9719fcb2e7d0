"""Thousands of sockets at once get each broadcast, and the services stay within their memory."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest

from .client import Client
from .stack import Container, Stack, docker

pytestmark = pytest.mark.compose

_WEBSOCKET_PORT = 8000
_MAX_MEMORY_MIB = 256
# Its result is one message of a megabyte.
_LONG_N = 5_000_000
# Almost MAX_SOCKETS, for which there have to be as many files.
_MANY = 19_000
# A process may have only so many open files.
_PROCESSES = 4

# Opens sockets and prints "open". Then reads one message from each, and prints how long these were.
_LISTEN = """
import json, resource, select, socket, sys
host, port, count = sys.argv[1], *map(int, sys.argv[2:])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
HANDSHAKE = (
    b"GET /ws HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
    b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
)

class Reader:
    def __init__(self):
        self.connection = socket.create_connection((host, port), timeout=30)
        self.connection.sendall(HANDSHAKE)
        answer = b""
        while not answer.endswith(b"\\r\\n\\r\\n"):
            answer += self.connection.recv(4096)
            assert b"HTTP/1.1 101".startswith(answer[:12]), answer
        self.buffer, self.length, self.is_whole = b"", 0, False

    def read(self):
        received = self.connection.recv(65536)
        assert received, "closed"
        self.buffer += received
        while len(self.buffer) >= 2:
            length, head = self.buffer[1], 2
            if length == 126:
                length, head = int.from_bytes(self.buffer[2:4], "big"), 4
            if len(self.buffer) < head + length:
                break
            opcode, is_last = self.buffer[0] & 15, bool(self.buffer[0] & 128)
            self.buffer = self.buffer[head + length :]
            if opcode == 9:
                self.connection.sendall(bytes([0x8A, 0x80, 0, 0, 0, 0]))
            else:
                assert opcode < 2, opcode
                self.length += length
                self.is_whole = is_last

poll, waiting, lengths = select.epoll(), {}, set()
for _ in range(count):
    reader = Reader()
    waiting[reader.connection.fileno()] = reader
    poll.register(reader.connection, select.EPOLLIN)
print("open", flush=True)
while waiting:
    for number, _ in poll.poll():
        reader = waiting[number]
        reader.read()
        if reader.is_whole:
            lengths.add(reader.length)
            poll.unregister(number)
            del waiting[number]
print(json.dumps(sorted(lengths)), flush=True)
"""


def test_two_thousand_sockets_get_a_message_of_a_megabyte(stack: Stack, client: Client) -> None:
    nginx, websocket = stack.container("nginx"), stack.container("websocket")
    before = workers(nginx), websocket.pid
    address = urlsplit(client.base_url)
    with listeners(str(address.hostname), int(address.port or 80), 2000) as listening:
        client.submit(_LONG_N, private=False)
        ((length,),) = {lengths(process) for process in listening}
        assert length > 1_000_000
    assert (workers(nginx), websocket.pid) == before, "a process was killed for its memory"
    assert peak_memory_mib(websocket) < _MAX_MEMORY_MIB


def test_almost_twenty_thousand_sockets_get_a_result(stack: Stack, client: Client) -> None:
    websocket = stack.container("websocket")
    before = websocket.pid
    (address,) = [ip for name, ip in websocket.networks().items() if name.endswith("_front")]
    with listeners(address, _WEBSOCKET_PORT, _MANY) as listening:
        client.submit(10, private=False)
        assert len({lengths(process) for process in listening}) == 1
    assert websocket.pid == before
    assert peak_memory_mib(websocket) < _MAX_MEMORY_MIB


@contextmanager
def listeners(host: str, port: int, sockets: int) -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that together have so many open sockets."""
    command = [sys.executable, "-c", _LISTEN, host, str(port), str(sockets // _PROCESSES)]
    with ExitStack() as stack:
        processes = []
        for _ in range(_PROCESSES):
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert line_of(process) == "open"
        yield processes


def lengths(process: "subprocess.Popen[str]") -> tuple[int, ...]:
    return tuple(json.loads(line_of(process)))


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def workers(nginx: Container) -> set[str]:
    """The process ids of nginx's workers."""
    processes = docker("top", nginx.id, "-eo", "pid,args").splitlines()
    return {line.split()[0] for line in processes if "worker process" in line}


def peak_memory_mib(container: Container) -> int:
    """The most memory that its main process has used so far."""
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", container.proc("status"), re.MULTILINE)
    return int(peak) // 1024
