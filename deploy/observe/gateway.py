"""The one way between the services and what observes them. Two things pass: `GET /metrics` of each service, for
Prometheus, and `POST /v1/traces` of the services, for the trace store.

It is on the networks of both sides, so that Prometheus, Grafana and the trace store need not be on those of the
services. For each side it listens at its address in the network of that side alone.
"""

import http.client
import json
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Host = tuple[str, int]

# The names under which this gateway is known in the two networks, and its ports there.
FOR_PROMETHEUS: Host = ("metrics", 9465)
FOR_SERVICES: Host = ("traces", 4318)

# Where the metrics of each job are. A name has one address for each container of the service.
METRICS: Mapping[str, Host] = {
    "web": ("web", 9464),
    "calculator": ("calculator", 9464),
    "websocket": ("websocket", 9464),
    "nginx": ("nginx-exporter", 9113),
}
TRACE_STORE: Host = ("jaeger", 4318)

# Less than Prometheus waits for a scrape, and than the services wait for an export.
_TIMEOUT_S = 4
_MAX_METRICS_BYTES = 16 * 1024 * 1024
_MAX_TRACES_BYTES = 8 * 1024 * 1024
_PASSED_ON = ("Accept", "Accept-Encoding", "Content-Encoding", "Content-Type")


class Metrics(ThreadingHTTPServer):
    """A proxy that passes on `GET /metrics` of the jobs and nothing else. `GET /targets` lists where they are, for
    Prometheus's discovery by HTTP.
    """

    daemon_threads = True

    def __init__(self, address: Host, jobs: Mapping[str, Host]) -> None:
        super().__init__(address, _MetricsHandler)
        self._jobs = jobs

    def targets(self) -> dict[str, list[str]]:
        """The addresses of each job's containers now. A job without any is at its name, so that it is seen as down."""
        return {job: _addresses(host) or ["{}:{}".format(*host)] for job, host in self._jobs.items()}


class Traces(ThreadingHTTPServer):
    """Passes on `POST /v1/traces` to the trace store."""

    daemon_threads = True

    def __init__(self, address: Host, store: Host) -> None:
        super().__init__(address, _TracesHandler)
        self.store = store


class _Handler(BaseHTTPRequestHandler):
    # A connection on which nothing is sent for so long is closed.
    timeout = _TIMEOUT_S

    def pass_on(self, to: Host, path: str, body: bytes | None, limit: int) -> None:
        """Answers with what `to` answers, if that is at most `limit` bytes."""
        connection = http.client.HTTPConnection(*to, timeout=_TIMEOUT_S)
        try:
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            connection.request(self.command, path, body, headers)
            answer = connection.getresponse()
            content = answer.read(limit + 1)
        except (OSError, http.client.HTTPException) as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, explain=f"{to[0]}:{to[1]} does not answer: {error}")
            return
        finally:
            connection.close()
        if len(content) > limit:
            self.send_error(HTTPStatus.BAD_GATEWAY, explain=f"{to[0]}:{to[1]} answers more than {limit} bytes")
            return
        self.answer(answer.status, content, {name: answer.headers[name] for name in _PASSED_ON if answer.headers[name]})

    def answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs nothing, because there is a request every second. Failures are logged."""


class _MetricsHandler(_Handler):
    server: Metrics

    def do_GET(self) -> None:
        if self.path == "/targets":
            groups = [{"targets": targets, "labels": {"job": job}} for job, targets in self.server.targets().items()]
            self.answer(HTTPStatus.OK, json.dumps(groups).encode(), {"Content-Type": "application/json"})
            return
        # A request to a proxy names the whole address.
        wanted = urlsplit(self.path)
        if wanted.scheme != "http" or wanted.path != "/metrics" or wanted.query:
            self.send_error(HTTPStatus.FORBIDDEN, explain="Only /targets and http://TARGET/metrics can be read here.")
            return
        if not any(wanted.netloc in targets for targets in self.server.targets().values()):
            self.send_error(HTTPStatus.FORBIDDEN, explain=f"{wanted.netloc} is not one of /targets.")
            return
        host, _, port = wanted.netloc.rpartition(":")
        self.pass_on((host, int(port)), wanted.path, None, _MAX_METRICS_BYTES)


class _TracesHandler(_Handler):
    server: Traces

    def do_POST(self) -> None:
        if self.path != "/v1/traces":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        if int(length) > _MAX_TRACES_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        self.pass_on(self.server.store, self.path, self.rfile.read(int(length)), _MAX_TRACES_BYTES)


def _addresses(host: Host) -> list[str]:
    try:
        found = socket.getaddrinfo(*host, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return []
    return sorted("{}:{}".format(*address[:2]) for *_, address in found)


def main() -> None:
    """Serves both sides until a signal arrives."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # A name of this container leads to its address in the one network that knows the name.
    with Metrics(FOR_PROMETHEUS, METRICS) as metrics, Traces(FOR_SERVICES, TRACE_STORE) as traces:
        threading.Thread(target=traces.serve_forever, daemon=True).start()
        metrics.serve_forever()


if __name__ == "__main__":
    main()
