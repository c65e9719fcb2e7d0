"""Options and fixtures: the address of the system under test, a client of it, and a browser."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from .browser import launch
from .client import Client
from .metrics import Metrics, of_stack, of_url
from .observed import Prometheus
from .stack import Stack
from .whole_run import WholeRun

_ARTIFACTS = Path(__file__).parent / "artifacts"

# How long a page may take to do or to show something, on a slow and busy machine as well.
_PATIENCE_MS = 30_000
expect.set_options(timeout=_PATIENCE_MS)

_failed = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fibwire")
    group.addoption("--base-url", default="http://127.0.0.1:8080", help="address of the system under test")
    group.addoption(
        "--compose-project",
        help="the compose project behind that address; adds the tests that restart and kill containers",
    )
    group.addoption(
        "--cluster-project",
        help="the compose project of a cluster behind that address; adds the tests that need one",
    )
    group.addoption(
        "--observe-project",
        help="the compose project with Prometheus behind that address; adds the tests of what observes the services",
    )
    group.addoption("--metrics-url", help="address of the metrics of the system, if it is one process")
    group.addoption("--max-n", type=int, default=100_000_000, help="MAX_N of the system under test")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(WholeRun())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    needed = {
        "compose": ["--compose-project"],
        "cluster": ["--cluster-project"],
        "observe": ["--observe-project"],
        "metrics": ["--metrics-url", "--compose-project"],
    }
    missing = [
        marker for marker, options in needed.items() if all(config.getoption(option) is None for option in options)
    ]
    away = [item for item in items if any(item.get_closest_marker(marker) for marker in missing)]
    if away:
        config.hook.pytest_deselected(items=away)
        items[:] = [item for item in items if item not in away]


def pytest_report_header(config: pytest.Config) -> str:
    project = config.getoption("--compose-project")
    containers = "tests of containers deselected (no --compose-project)" if project is None else f"project {project}"
    return f"fibwire: {config.getoption('--base-url')}, {containers}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # the type of a hook wrapper; pytest sends the report into it
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.when == "call":
        item.stash[_failed] = report.failed
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest) -> str:
    url: str = request.config.getoption("--base-url")
    return url.rstrip("/")


@pytest.fixture(scope="session")
def max_n(request: pytest.FixtureRequest) -> int:
    limit: int = request.config.getoption("--max-n")
    return limit


@pytest.fixture
def client(base_url: str) -> Iterator[Client]:
    with Client(base_url) as client:
        yield client


@pytest.fixture
def other(base_url: str) -> Iterator[Client]:
    """A second client, with another private token."""
    with Client(base_url) as client:
        yield client


def ready(project: str, base_url: str) -> Stack:
    """The containers of a compose project, once all of them are ready."""
    stack = Stack(project, base_url)
    stack.wait_until_ready()
    return stack


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, base_url: str) -> Stack:
    """The compose stack, once all of it is ready. A test that breaks a part of it waits until it is ready again."""
    return ready(request.config.getoption("--compose-project"), base_url)


@pytest.fixture(scope="session")
def metrics(request: pytest.FixtureRequest) -> Metrics:
    """The metrics of the system under test."""
    url = request.config.getoption("--metrics-url")
    return of_stack(request.getfixturevalue("stack")) if url is None else of_url(url)


@pytest.fixture(scope="session")
def observed(request: pytest.FixtureRequest, base_url: str) -> Stack:
    """The five services with Prometheus and the rest of compose.observe.yaml, once all of it is ready."""
    return ready(request.config.getoption("--observe-project"), base_url)


@pytest.fixture(scope="session")
def prometheus(observed: Stack) -> Prometheus:
    """The Prometheus that observes the five services."""
    ((binding,),) = observed.container("prometheus").inspect()["NetworkSettings"]["Ports"].values()
    return Prometheus(f"http://{binding['HostIp']}:{binding['HostPort']}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(browser: Browser, base_url: str, request: pytest.FixtureRequest) -> Iterator[NewPage]:
    """Opens pages, each as another person. At the end, no console may contain an unexpected error."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []
    marker = request.node.get_closest_marker("browser_errors")
    expected = [] if marker is None else list(marker.args)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    def new_page(url: str = "/", **options: object) -> Page:
        context = browser.new_context(base_url=base_url, **options)  # type: ignore[arg-type]
        context.set_default_timeout(_PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", on_console)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        return page

    yield new_page

    if request.node.stash.get(_failed, False):
        _ARTIFACTS.mkdir(exist_ok=True)
        for number, context in enumerate(contexts):
            for page in context.pages:
                name = re.sub(r"\W+", "-", request.node.name)
                page.screenshot(path=_ARTIFACTS / f"{name}-{number}.png", full_page=True)
                print(f"screenshot: {_ARTIFACTS.name}/{name}-{number}.png")
    for context in contexts:
        context.close()
    unexpected = [error for error in errors if not any(text in error for text in expected)]
    assert unexpected == [], "errors in the browser's console"


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """The page, open and connected."""
    page = new_page()
    page.locator("#connection[data-state=connected]").wait_for()
    return page
