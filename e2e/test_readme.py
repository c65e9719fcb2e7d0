"""Every command in the README does what the README shows, and every link in the documents leads to a file."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .client import Client
from .eventually import eventually
from .stack import Stack

_ROOT = Path(__file__).parent.parent
_README = (_ROOT / "README.md").read_text()
_DOCUMENTS = [path for pattern in ("*.md", "docs/**/*.md") for path in sorted(_ROOT.glob(pattern))]

# The address in the README. The system under test has a different address.
_ADDRESS = "127.0.0.1:8080"

# The first build of everything, images included.
_BUILD_S = 1800
_COMMAND_S = 60


@dataclass(frozen=True)
class Shown:
    """A command and the output that the README shows for it, in which `…` stands for any text."""

    command: str
    output: str

    def check(self, output: str, address: str) -> None:
        if self.output == "":
            return
        pattern = re.escape(self.output.replace(_ADDRESS, address)).replace("…", ".*")
        assert re.search(f"^{pattern}$", output.strip(), re.MULTILINE), f"{self.command} printed\n{output}"


def shown_in(block: str) -> list[Shown]:
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts[0] == "", f"output without a command: {block}"
    return [Shown(command, output.strip()) for command, _, output in (part.partition("\n") for part in parts[1:])]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _README, re.MULTILINE | re.DOTALL)


_SHOWN = [shown for block in blocks("console") for shown in shown_in(block)]

# Starts the standalone binary, which runs until it gets a signal.
_SERVE = "cargo run --release"
# These act on the five services, and are run in this order.
_COMPOSE = ("docker compose up --build --detach", "make up", "make down")
# This runs the present suite, so no test runs it.
_TEST = "make test"
# The parts `cluster` and `observe` of that suite start the same in the same way.
_IN_PARTS = {"make up-cluster", "make observe"}
# Follows the results until it gets a signal.
_FOLLOW = "curl -N http://127.0.0.1:8080/events"
# Posts the job whose result the README shows.
_POST = "curl -d n=10 http://127.0.0.1:8080/fib"
# These end by themselves.
_FINITE = [
    shown
    for shown in _SHOWN
    if shown.command.startswith(("curl ", "target/release/fibwire ")) and shown.command != _FOLLOW
]


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    run = {_SERVE, *_COMPOSE, _TEST, _FOLLOW, *(shown.command for shown in _FINITE)}
    assert {shown.command for shown in _SHOWN} == run
    inline = re.findall(r"`((?:cargo|curl|docker|fibwire|make|scripts/\w+|target/\S+) [^`]+)`", _README)
    assert set(inline) <= run | _IN_PARTS, "a command in the text that is in no block"


@pytest.fixture(scope="session")
def built() -> None:
    """The standalone binary, as the README's first command builds it."""
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=_ROOT, timeout=_BUILD_S, check=True)


@pytest.mark.usefixtures("built")
def test_the_first_command_starts_everything() -> None:
    (shown,) = [shown for shown in _SHOWN if shown.command == _SERVE]
    process = subprocess.Popen(
        shlex.split(shown.command), cwd=_ROOT, env=os.environ | {"LISTEN": "127.0.0.1:0"}, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stderr is not None
        printed = ""
        for line in process.stderr:
            printed += line
            if (found := re.search(r"http://(\S+)", line)) is not None:
                break
        else:
            pytest.fail(f"{shown.command} printed no address:\n{printed}")
        shown.check(printed, found[1])
        with Client(found[0]) as client, client.private() as socket:
            assert socket.result(client.submit(10))["value"] == "55"
    finally:
        process.terminate()
        _, rest = process.communicate(timeout=_COMMAND_S)
    assert process.returncode == 0, rest


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("shown", _FINITE, ids=lambda shown: shown.command)
def test_a_command_prints_what_is_shown(shown: Shown, client: Client) -> None:
    address = urlsplit(client.base_url).netloc
    shown.check(run(shown.command.replace(_ADDRESS, address), {"FIBWIRE_URL": client.base_url}), address)


def test_whoever_follows_the_results_sees_that_of_the_posted_job(client: Client, tmp_path: Path) -> None:
    (shown,) = [shown for shown in _SHOWN if shown.command == _FOLLOW]
    address = urlsplit(client.base_url).netloc
    printed = tmp_path / "printed"

    def arrived() -> bool:
        # curl may not be connected yet, and without `since` it is sent only what is published later.
        run(_POST.replace(_ADDRESS, address), {})
        shown.check(printed.read_text(), address)
        return True

    with printed.open("w") as output:
        follow = subprocess.Popen(
            shlex.split(shown.command.replace(_ADDRESS, address)), stdout=output, stderr=subprocess.DEVNULL
        )
        try:
            eventually(arrived, "the result in the first terminal")
        finally:
            follow.terminate()
            follow.wait(timeout=_COMMAND_S)


@pytest.fixture
def services(stack: Stack, client: Client) -> Iterator[Mapping[str, str]]:
    """The variables that point `make` and Compose at the stack under test, which is up again afterwards."""
    environment = {"COMPOSE_PROJECT_NAME": stack.project, "LISTEN": urlsplit(client.base_url).netloc}
    yield environment
    run("scripts/up", environment)


@pytest.mark.compose
def test_the_five_services_go_up_and_down(stack: Stack, client: Client, services: Mapping[str, str]) -> None:
    with client.private() as socket:
        seq = socket.result(client.submit(10))["seq"]
        job = client.submit(11)
        socket.result(job)
    shown = {shown.command: shown for shown in _SHOWN}
    for command in _COMPOSE:
        # If there is no `docker compose`, scripts/compose runs docker-compose.
        output = run(command.replace("docker compose", "scripts/compose"), services)
        shown[command].check(output, services["LISTEN"])
    run("scripts/up", services)
    with client.private(since=seq) as socket:
        assert socket.result(job)["value"] == "89", "the results in the volumes are gone"
    stack.wait_until_ready()


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: str(path.relative_to(_ROOT)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    local = [target.partition("#")[0] for target in targets if not re.match(r"https?:|#", target)]
    missing = [target for target in local if not (document.parent / target).exists()]
    assert missing == [], f"{len(local)} links to files, some of which are not there"


def run(command: str, environment: Mapping[str, str]) -> str:
    """Runs a command, which must succeed, and returns what it printed."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=_ROOT, env=os.environ | environment, capture_output=True,
        text=True, timeout=_BUILD_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
