"""A real queue, and the app connected to it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from web import create_app

CONF = Path(__file__).parents[2] / "queue" / "nats-server.conf"
USERS = ("web", "calculator", "websocket")
START_LIMIT_S = 20


@dataclass
class Server:
    """A nats-server with the project's configuration, on a free port."""

    url: str
    directory: Path

    def password_file(self, user: str) -> Path:
        return self.directory / user


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    for user in USERS:
        (tmp_path / user).write_text(f"password-of-{user}")
    passwords = {f"{user.upper()}_PASSWORD": f"password-of-{user}" for user in USERS}
    settings = {"SYNC_INTERVAL": "always", "JOBS_MAX_FILE": "512MB", "RESULTS_MAX_FILE": "1GB"}
    command = ["nats-server", "-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-c", str(CONF), "-sd", str(tmp_path / "data")]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--ports_file_dir", str(tmp_path)],
            env={**os.environ, **passwords, **settings},
            stderr=out,
        )
    try:
        yield Server(_await_url(process, tmp_path, log), tmp_path)
    finally:
        process.kill()
        process.wait()


def _await_url(process: subprocess.Popen[bytes], directory: Path, log: Path) -> str:
    ports = directory / f"nats-server_{process.pid}.ports"
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return str(json.loads(ports.read_text())["nats"][0])
        except (FileNotFoundError, json.JSONDecodeError):
            time.sleep(0.01)
    sys.exit(f"nats-server did not start:\n{log.read_text()}")


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("QUEUE_URL", server.url)
    monkeypatch.setenv("QUEUE_PASSWORD_FILE", str(server.password_file("web")))
    monkeypatch.setenv("MAX_N", "3000000")
    return create_app().test_client()
