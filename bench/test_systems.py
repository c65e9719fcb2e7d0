"""Starting a binary: a script stands for it, so that it can also fail."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from bench.systems import Unavailable, binary, receiver, scraper


def script(directory: Path, commands: str) -> Path:
    path = directory / "fibwire"
    path.write_text(f"#!/bin/sh\n{commands}\n", encoding="ascii")
    path.chmod(0o755)
    return path


def test_a_binary_is_up_when_it_prints_its_address(tmp_path: Path) -> None:
    path = script(
        tmp_path, 'echo "opening $4" >&2; echo "fibwire is up: http://127.0.0.1:1" >&2; exec tail -f /dev/null'
    )
    with binary(path, ["--data", "{data}"]) as running:
        assert running.url == "http://127.0.0.1:1"
        assert running.start_ms > 0
        assert running.directory.is_dir()
        assert Path(f"/proc/{running.pid}").exists()
    assert not running.directory.exists()
    assert not Path(f"/proc/{running.pid}").exists()


def test_the_directory_for_data_is_passed_on(tmp_path: Path) -> None:
    path = script(tmp_path, 'touch "$4/stored"; echo "fibwire is up: http://127.0.0.1:1" >&2; exec tail -f /dev/null')
    with binary(path, ["--data", "{data}"]) as running:
        assert (running.directory / "stored").exists()


def test_a_binary_gets_the_variables_of_its_environment(tmp_path: Path) -> None:
    path = script(tmp_path, 'echo "fibwire is up: $ADDRESS" >&2; exec tail -f /dev/null')
    with binary(path, environment={"ADDRESS": "http://127.0.0.1:2"}) as running:
        assert running.url == "http://127.0.0.1:2"


def test_a_receiver_answers_until_it_is_left() -> None:
    with receiver(Path(__file__).parents[1]) as address:
        traces = httpx.post(
            f"{address}/v1/traces", content=b"", headers={"Content-Type": "application/x-protobuf"}, trust_env=False
        )
        assert traces.status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)


def test_a_binary_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    path = script(tmp_path, "echo 'error: unexpected argument' >&2; exit 2")
    with pytest.raises(Unavailable, match="error: unexpected argument"), binary(path):
        pass


def test_a_scraper_reads_the_metrics_until_it_is_left_and_tells_if_it_could_not() -> None:
    read = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            read.set()
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            with scraper(f"{address}/metrics"):
                assert read.wait(timeout=10)
            read.clear()
            with pytest.raises(httpx.HTTPStatusError), scraper(f"{address}/elsewhere"):
                assert read.wait(timeout=10)
        finally:
            server.shutdown()
