"""The gateway lets metrics and traces pass, and nothing else."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest

from .gateway import Host, Metrics, Traces

_ANSWER_S = 5


class Behind(HTTPServer):
    """A service behind the gateway. It keeps the requests that it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Behind)
        self.asked: list[tuple[str, str | None, bytes]] = []


class _Behind(BaseHTTPRequestHandler):
    server: Behind

    def do_GET(self) -> None:
        self._answer(self.headers["Accept"])

    def do_POST(self) -> None:
        self._answer(self.headers["Content-Type"])

    def _answer(self, header: str | None) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.asked.append((f"{self.command} {self.path}", header, body))
        self.send_response(200)
        self.send_header("Content-Type", "text/special")
        self.end_headers()
        self.wfile.write(b"answered")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def behind() -> Iterator[Behind]:
    with Behind() as server, serving(server):
        yield server


@pytest.fixture
def metrics(behind: Behind) -> Iterator[Host]:
    jobs = {"web": ("127.0.0.1", behind.server_port), "gone": ("gone.invalid", 9464)}
    with Metrics(("127.0.0.1", 0), jobs) as server, serving(server):
        yield "127.0.0.1", server.server_port


@pytest.fixture
def traces(behind: Behind) -> Iterator[Host]:
    with Traces(("127.0.0.1", 0), ("127.0.0.1", behind.server_port)) as server, serving(server):
        yield "127.0.0.1", server.server_port


def test_every_job_has_a_target_even_one_that_is_gone(metrics: Host, behind: Behind) -> None:
    status, body = ask(metrics, "GET", "/targets")
    assert status == 200
    assert json.loads(body) == [
        {"targets": [f"127.0.0.1:{behind.server_port}"], "labels": {"job": "web"}},
        {"targets": ["gone.invalid:9464"], "labels": {"job": "gone"}},
    ]


def test_every_container_of_a_job_is_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 9464)) for address in ("10.0.0.3", "10.0.0.2")]

    with Metrics(("127.0.0.1", 0), {"calculator": ("calculator", 9464)}) as server:
        monkeypatch.setattr(socket, "getaddrinfo", two)
        assert server.targets() == {"calculator": ["10.0.0.2:9464", "10.0.0.3:9464"]}


def test_metrics_of_a_target_pass(metrics: Host, behind: Behind) -> None:
    url = f"http://127.0.0.1:{behind.server_port}/metrics"
    assert ask(metrics, "GET", url, headers={"Accept": "text/some"}) == (200, b"answered")
    assert behind.asked == [("GET /metrics", "text/some", b"")]


def test_a_target_that_is_gone_is_a_502(metrics: Host) -> None:
    assert ask(metrics, "GET", "http://gone.invalid:9464/metrics")[0] == 502


@pytest.mark.parametrize(
    "url", ["/metrics", "/", "{}/", "{}/metrics?x", "{}/metrics/../", "https{}/metrics", "http://127.0.0.1:1/metrics",
            "http://u@127.0.0.1/metrics"],
)  # fmt: skip
def test_nothing_else_of_a_target_passes(metrics: Host, behind: Behind, url: str) -> None:
    assert ask(metrics, "GET", url.format(f"http://127.0.0.1:{behind.server_port}"))[0] == 403
    assert behind.asked == []


def test_traces_pass(traces: Host, behind: Behind) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    assert ask(traces, "POST", "/v1/traces", b"spans", headers) == (200, b"answered")
    assert behind.asked == [("POST /v1/traces", "application/x-protobuf", b"spans")]


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/v1/logs", "0", 404),
        ("/v1/traces", "-1", 411),
        ("/v1/traces", str(8 * 1024 * 1024 + 1), 413),
    ],
)
def test_nothing_else_is_taken_for_traces(traces: Host, behind: Behind, path: str, length: str, status: int) -> None:
    assert ask(traces, "POST", path, headers={"Content-Length": length})[0] == status
    assert behind.asked == []


def test_traces_without_a_store_are_a_502() -> None:
    with Traces(("127.0.0.1", 0), ("gone.invalid", 4318)) as server, serving(server):
        assert ask(("127.0.0.1", server.server_port), "POST", "/v1/traces", b"spans")[0] == 502


@contextmanager
def serving(server: HTTPServer | ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def ask(
    to: Host, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection(*to, timeout=_ANSWER_S)
    try:
        connection.request(method, url, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
