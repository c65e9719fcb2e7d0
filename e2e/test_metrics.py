"""The metrics: exactly the expected ones are there, they count the work, and none says who asked for it."""

import re
from collections.abc import Callable

import pytest

from .client import Client, problem
from .eventually import eventually
from .metrics import CONTENT_TYPE, Metrics, value
from .stack import Stack

pytestmark = pytest.mark.metrics

_LANE = {"lane": {"small", "large"}}
_STATUS = {"status": {"202", "400", "403", "408", "413", "415", "422", "503"}}
_OUTCOME = {"outcome": {"result", "failed", "released", "unfinished"}}
_CODE = {"code": {"1001", "1002", "1007", "1008", "1009", "1013"}}

# Each family: its type, and all values of its labels.
_Families = dict[str, tuple[str, dict[str, set[str]]]]

# This many large jobs take about as long as reading the metrics of all containers once.
_JOBS_PER_READING = 12

_QUEUE_CLIENT: _Families = {
    "fibwire_queue_connected": ("gauge", {}),
    "fibwire_queue_connections": ("counter", {}),
}
_PROCESS: _Families = {
    "fibwire_build": ("info", {}),
    "process_start_time_seconds": ("gauge", {}),
    "process_cpu_seconds": ("counter", {}),
    "process_resident_memory_bytes": ("gauge", {}),
    "process_threads": ("gauge", {}),
    "process_open_fds": ("gauge", {}),
    "process_max_fds": ("gauge", {}),
}
_WEB: _Families = {
    "fibwire_submissions": ("counter", _STATUS),
    "fibwire_submit_seconds": ("histogram", {}),
    "fibwire_duplicates": ("counter", {"stream": {"jobs"}}),
}
_CALCULATOR: _Families = {
    "fibwire_jobs": ("counter", _LANE | _OUTCOME),
    "fibwire_queue_wait_seconds": ("histogram", _LANE),
    "fibwire_compute_seconds": ("histogram", _LANE),
    "fibwire_event_store_seconds": ("histogram", {}),
    "fibwire_jobs_waiting": ("gauge", _LANE),
    "fibwire_jobs_in_progress": ("gauge", _LANE),
    "fibwire_oldest_job_age_seconds": ("gauge", _LANE),
    "fibwire_lane_capacity_jobs": ("gauge", _LANE),
    "fibwire_redeliveries": ("counter", _LANE),
    "fibwire_malformed_jobs": ("counter", {}),
    "fibwire_duplicates": ("counter", {"stream": {"results"}}),
}
_WEBSOCKET: _Families = {
    "fibwire_delivery_seconds": ("histogram", {}),
    "fibwire_sockets": ("gauge", {"kind": {"websocket", "events"}}),
    "fibwire_sockets_limit": ("gauge", {}),
    "fibwire_cursor_lag_events": ("gauge", {}),
    "fibwire_gaps": ("counter", {}),
    "fibwire_closes": ("counter", _CODE),
    "fibwire_sent_bytes": ("counter", {}),
    "fibwire_tail_bytes": ("gauge", {}),
    "fibwire_tail_events": ("gauge", {}),
    "fibwire_log_bytes": ("gauge", {}),
    "fibwire_log_limit_bytes": ("gauge", {}),
}
_EXPECTED = {
    "web": _WEB | _QUEUE_CLIENT | _PROCESS,
    "calculator": _CALCULATOR | _QUEUE_CLIENT | _PROCESS,
    "websocket": _WEBSOCKET | _QUEUE_CLIENT | _PROCESS,
    "binary": _WEB | _CALCULATOR | _WEBSOCKET | _PROCESS | {
        "fibwire_duplicates": ("counter", {"stream": {"jobs", "results"}}),
    },
}  # fmt: skip

# The label of every histogram's buckets, and that of fibwire_build.
_OTHER_LABELS = {"le", "version"}

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def test_every_process_shows_the_expected_metrics_and_no_others(metrics: Metrics) -> None:
    def shown() -> bool:
        for exposition in metrics.read():
            assert exposition.content_type == CONTENT_TYPE
            expected = _EXPECTED[exposition.process]
            assert {family.name: family.type for family in exposition.families()} == {
                name: type_ for name, (type_, _) in expected.items()
            }, exposition.process
        return True

    # The figures of the queue come a few seconds after the connection.
    eventually(shown, "every metric being shown")


def test_every_metric_says_what_it_is(metrics: Metrics) -> None:
    for exposition in metrics.read():
        for family in exposition.families():
            assert re.fullmatch(r"[A-Z].*[^.]\.", family.documentation), f"{family.name}: {family.documentation!r}"
            assert not family.unit or family.name.endswith(f"_{family.unit}"), f"{family.name}: {family.unit}"
            if family.name.endswith(("_seconds", "_bytes")):
                assert family.unit, f"{family.name} has no unit"


def test_every_label_has_few_values(metrics: Metrics, client: Client) -> None:
    with client.private() as socket:
        socket.result(client.submit(10))
    for exposition in metrics.read():
        for family in exposition.families():
            _, labels = _EXPECTED[exposition.process][family.name]
            for sample in family.samples:
                found = {name: value for name, value in sample.labels.items() if name not in _OTHER_LABELS}
                assert found.keys() == labels.keys(), sample
                assert all(value in labels[name] for name, value in found.items()), sample


def test_a_job_is_counted_from_its_post_to_its_delivery(metrics: Metrics, client: Client) -> None:
    counted: list[tuple[str, dict[str, str]]] = [
        ("fibwire_submissions_total", {"status": "202"}),
        ("fibwire_submit_seconds_count", {}),
        ("fibwire_queue_wait_seconds_count", {"lane": "small"}),
        ("fibwire_compute_seconds_count", {"lane": "small"}),
        ("fibwire_event_store_seconds_count", {}),
        ("fibwire_jobs_total", {"lane": "small", "outcome": "result"}),
        ("fibwire_delivery_seconds_count", {}),
        ("fibwire_sent_bytes_total", {}),
    ]
    before = [metrics.value(name, **labels) for name, labels in counted]
    with client.private() as socket:
        result = socket.result(client.submit(1000))
        assert metrics.value("fibwire_sockets", kind="websocket") >= 1
    for (name, labels), count in zip(counted, before, strict=True):
        eventually(has_grown(metrics, count, name, labels), f"{name}{labels} growing from {count}")
    sent = metrics.value("fibwire_sent_bytes_total") - before[-1]
    assert sent >= len(result["value"])


def test_a_stream_of_events_and_its_deliveries_are_counted(metrics: Metrics, client: Client) -> None:
    before = metrics.value("fibwire_delivery_seconds_count")
    with client.private_events() as events:
        assert metrics.value("fibwire_sockets", kind="events") >= 1
        client.submit(10)
        events.next()
    eventually(has_grown(metrics, before, "fibwire_delivery_seconds_count", {}), "a delivery being counted")


def test_a_gap_and_a_close_are_counted(metrics: Metrics, client: Client) -> None:
    gaps = metrics.value("fibwire_gaps_total")
    with client.private(since=1) as socket:
        assert socket.next()["type"] == "gap"
    eventually(has_grown(metrics, gaps, "fibwire_gaps_total", {}), "the gap being counted")
    closes = metrics.value("fibwire_closes_total", code="1008")
    with client.socket(client="short") as socket:
        assert socket.closed() == 1008
    eventually(has_grown(metrics, closes, "fibwire_closes_total", {"code": "1008"}), "the close being counted")


def test_a_refusal_is_counted_by_its_status(metrics: Metrics, client: Client) -> None:
    problem(client.post_json({"n": -1}), 422)
    before = metrics.value("fibwire_submissions_total", status="422")
    problem(client.post_json({"n": -1}), 422)
    assert metrics.value("fibwire_submissions_total", status="422") == before + 1


def test_a_job_that_is_posted_again_is_counted_as_a_duplicate(metrics: Metrics, client: Client) -> None:
    before = metrics.value("fibwire_duplicates_total", stream="jobs")
    job = client.submit(10)
    client.submit(10, id=job.id)
    assert metrics.value("fibwire_duplicates_total", stream="jobs") == before + 1


def test_jobs_that_the_queue_holds_are_counted(metrics: Metrics, client: Client) -> None:
    def held() -> bool:
        # In the five services, the calculator asks the queue only every few seconds, so there has to be a job nearly
        # all the time.
        for _ in range(_JOBS_PER_READING):
            client.submit(20_000_000)
        shown = metrics.read()
        in_progress = value(shown, "fibwire_jobs_in_progress", lane="large")
        age = value(shown, "fibwire_oldest_job_age_seconds", lane="large")
        return in_progress >= 1 and 0 < age < 60

    def done() -> bool:
        shown = metrics.read()
        names = ("fibwire_jobs_waiting", "fibwire_jobs_in_progress", "fibwire_oldest_job_age_seconds")
        return all(value(shown, name, lane="large") == 0 for name in names)

    eventually(held, "a job being counted as in progress")
    eventually(done, "all jobs being counted as done", within_s=60)


def test_no_metric_names_a_client_or_a_job(metrics: Metrics, client: Client) -> None:
    with client.private() as socket:
        job = client.submit(10)
        socket.result(job)
    for exposition in metrics.read():
        assert client.token not in exposition.text
        assert not _UUID.search(exposition.text), exposition.process


@pytest.mark.parametrize("path", ["/metrics", "/stub_status", "/targets"])
def test_the_page_s_address_has_no_metrics(client: Client, path: str) -> None:
    problem(client.request("GET", path), 404)


@pytest.mark.compose
def test_no_service_publishes_the_port_of_its_metrics(stack: Stack, metrics: Metrics) -> None:
    served = {exposition.process for exposition in metrics.read()}
    assert served == {"web", "calculator", "websocket"}
    for service in served:
        ports = stack.container(service).inspect()["NetworkSettings"]["Ports"]
        assert not any(ports.values()), f"{service} publishes {ports}"


def has_grown(metrics: Metrics, since: float, name: str, labels: dict[str, str]) -> Callable[[], bool]:
    return lambda: metrics.value(name, **labels) > since
