"""`GET /events`: what a socket sends, for whoever speaks only HTTP."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page

from .client import Client, Event, problem
from .eventually import eventually
from .expected import fibonacci
from .test_values import check_parts

_LONG_N = 6_000_000


def test_a_stream_brings_what_a_socket_brings(client: Client) -> None:
    with client.private() as socket, client.private_events() as events:
        jobs = [client.submit(n) for n in range(20)]
        socket.results(jobs)
        assert [events.next() for _ in socket.seen] == socket.seen


def test_a_stream_is_for_event_sources_and_not_for_caches(client: Client) -> None:
    with client.events() as events:
        headers = events.response.headers
        assert headers["Content-Type"].partition(";")[0] == "text/event-stream", headers
        assert headers["Cache-Control"] in ("no-cache", "no-store"), headers
        assert headers.get_list("X-Content-Type-Options") == ["nosniff"], headers


def test_a_job_posted_as_soon_as_the_stream_is_open_is_not_missed(client: Client) -> None:
    for n in range(10):
        with client.private_events() as events:
            assert events.result(client.submit(n))["value"] == fibonacci(n)


def test_the_last_event_id_resumes_exactly_where_the_stream_was_left(client: Client) -> None:
    with client.private_events() as events:
        jobs = [client.submit(n) for n in range(10)]
        ids = {job.id for job in jobs}
        seen: list[Event] = []
        while len(seen) < len(jobs):
            event = events.next()
            seen += [event] if event["id"] in ids else []
    query = {"client": client.token, "since": "0"}
    for left in (0, 4, 8):
        # An `EventSource` repeats its address, so the header has to win over `since`.
        with client.events(query, {"Last-Event-ID": str(seen[left]["seq"])}) as events:
            missing = [event for event in iter(events.next, seen[-1]) if event["id"] in ids]
            assert [*missing, seen[-1]] == seen[left + 1 :], str(events)


def test_a_place_that_is_not_held_is_told_as_a_gap_and_resumes(client: Client) -> None:
    with client.private_events(since=10**12) as events:
        gap = events.next()
        assert gap["type"] == "gap", gap
    job = client.submit(38)
    with client.private_events(since=gap["seq"]) as events:
        assert events.result(job)["value"] == fibonacci(38)
        assert "gap" not in {event["type"] for event in events.seen}, str(events)


def test_a_bare_stream_brings_one_message_for_each_broadcast_job(client: Client, other: Client) -> None:
    with client.events() as bare, client.private_events() as mine:
        mine.result(client.submit(11))
        other.submit(12)
        job = client.submit(13, private=False)
        assert bare.result(job) == mine.result(job)
        assert {event["type"] for event in bare.seen} == {"result"}, str(bare)
        assert not {11, 12} & {event["n"] for event in bare.seen}, str(bare)
        assert 12 not in {event["n"] for event in mine.seen}, str(mine)


def test_a_long_broadcast_comes_in_parts(client: Client) -> None:
    with client.events() as events:
        job = client.submit(_LONG_N, private=False)
        result = events.result(job)
        own = [event for event in events.seen if event["id"] == job.id]
    assert {event["type"] for event in own} == {"part", "result"}
    check_parts(own[:-1], result)


def test_a_comment_comes_when_there_is_no_event(client: Client) -> None:
    with client.private_events() as events:
        assert events.comment() == ":"


def test_a_reader_that_does_not_read_delays_nobody_else(client: Client, other: Client) -> None:
    with client.events(), other.private() as listening:
        for _ in range(5):
            # More than the kernel's buffers hold.
            listening.result(client.submit(4_000_000, private=False), within_s=60)
        assert listening.result(other.submit(40), within_s=5)["value"] == fibonacci(40)


def test_an_event_source_of_the_page_gets_every_message_in_one_handler(page: Page, client: Client) -> None:
    page.evaluate(
        """address => new Promise(resolve => {
            window.received = [];
            const source = new EventSource(address);
            source.onmessage = ({ lastEventId, data }) => received.push([lastEventId, JSON.parse(data)]);
            source.onopen = () => resolve(null);
        })""",
        f"/events?client={client.token}",
    )
    with client.private() as socket:
        socket.result(client.submit(_LONG_N), within_s=60)
        events = [event for event in socket.seen if event["n"] == _LONG_N]
    # Not `wait_for_function`, which would evaluate a string in the page, and the page's policy forbids that.
    eventually(lambda: page.evaluate("received.at(-1)?.[1].type") == "result", "the result in the page")
    received = [(id, event) for id, event in page.evaluate("received") if event["n"] == _LONG_N]
    assert received == [(str(event["seq"]), event) for event in events]


def test_many_streams_get_each_result(client: Client) -> None:
    def listen(_: int) -> Event:
        with client.private_events(since=seq) as events:
            return events.result(job)

    with client.private() as socket:
        seq = socket.result(client.submit(1))["seq"]
    job = client.submit(2)
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(listen, range(20)))
    assert results == [results[0]] * 20


@pytest.mark.parametrize("token", ["", "short", "a" * 65, "a" * 16 + "/", "é" * 16])
def test_a_bad_token_is_a_400(client: Client, token: str) -> None:
    with client.events({"client": token}) as events:
        problem(events.response, 400)


@pytest.mark.parametrize("since", ["", "-1", "1.5", "x", "1e3", " 1", str(2**64)])
def test_a_bad_place_is_a_400(client: Client, since: str) -> None:
    with client.events({"since": since}) as events:
        problem(events.response, 400)


@pytest.mark.parametrize("id", ["", "-1", "1.5", "x", "1e3", str(2**64)])
def test_a_bad_last_event_id_is_a_400(client: Client, id: str) -> None:
    with client.events({"since": "1"}, {"Last-Event-ID": id}) as events:
        problem(events.response, 400)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost.evil.example"])
def test_a_foreign_origin_is_a_403(client: Client, origin: str) -> None:
    with client.events(headers={"Origin": origin}) as events:
        problem(events.response, 403)


def test_the_page_s_own_origin_is_welcome(client: Client) -> None:
    with client.events(headers={"Origin": client.origin}) as events:
        assert events.response.status_code == 200
        assert events.response.headers["Access-Control-Allow-Origin"] == client.origin


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_a_405_that_allows_get(client: Client, method: str) -> None:
    response = client.request(method, "/events")
    problem(response, 405)
    assert "GET" in response.headers["Allow"]
