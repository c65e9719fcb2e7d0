"""Prometheus sees all of the five services under load, and answers what the dashboard and the alerts ask."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from .client import Client, problem
from .eventually import eventually
from .metrics import SERVICES
from .observed import Prometheus, Query, dashboard_queries, measured, rules

pytestmark = pytest.mark.observe

_JOBS = {*SERVICES, "nginx", "prometheus"}

# Up to here a number is small.
_MAX_SMALL_N = 1_000_000

# Two scrapes make a rate, one a count.
_SEEN_S = 60


@pytest.fixture(scope="module")
def load(base_url: str) -> Iterator[None]:
    """Does all that leaves a trace in the metrics, again and again."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def post_and_read() -> None:
        try:
            with Client(base_url) as client, ExitStack() as listening:
                socket = listening.enter_context(client.private())
                listening.enter_context(client.private_events())
                while not stop.is_set():
                    jobs = [client.submit(n) for n in range(20)]
                    client.submit(jobs[0].n, id=jobs[0].id)
                    socket.results([*jobs, client.submit(_MAX_SMALL_N + 1)])
                    problem(client.post_json({"n": -1}), 422)
                    with client.private(since=1) as late:
                        late.next()
                    with client.socket(client="short") as refused:
                        refused.closed()
        except BaseException as failure:
            failures.append(failure)
            raise

    thread = threading.Thread(target=post_and_read, name="load")
    thread.start()
    yield
    stop.set()
    thread.join()
    assert failures == []


@pytest.mark.usefixtures("load")
def test_every_target_is_up(prometheus: Prometheus) -> None:
    def all_up() -> bool:
        health = {target["labels"]["job"]: (target["health"], target["lastError"]) for target in prometheus.targets()}
        assert health == dict.fromkeys(_JOBS, ("up", ""))
        return True

    eventually(all_up, "every target being up", _SEEN_S)


@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("query", dashboard_queries(), ids=str)
def test_a_query_of_the_dashboard_returns_data(prometheus: Prometheus, query: Query) -> None:
    eventually(lambda: prometheus.values(query.expression), str(query), _SEEN_S)


@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("query", [measured(rule) for rule in rules()], ids=str)
def test_what_an_alert_looks_at_is_there(prometheus: Prometheus, query: Query) -> None:
    eventually(lambda: prometheus.values(query.expression), str(query), _SEEN_S)


@pytest.mark.usefixtures("load")
def test_what_was_done_is_seen(prometheus: Prometheus) -> None:
    for counted in (
        'fibwire_submissions_total{status="202"}',
        'fibwire_jobs_total{outcome="result",lane="large"}',
        "fibwire_gaps_total",
        "nginx_http_requests_total",
    ):
        eventually(has_grown(prometheus, counted), f"{counted} being counted", _SEEN_S)


def has_grown(prometheus: Prometheus, counter: str) -> Callable[[], bool]:
    return lambda: sum(prometheus.values(counter)) > 0
