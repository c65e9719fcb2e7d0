"""The three parts of the flow: the page is served, a job is accepted, its result is pushed."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from .client import FORM, JSON, Client, accepted, told
from .expected import fibonacci


def test_the_page_is_served(client: Client) -> None:
    response = client.request("GET", "/")
    assert response.status_code == 200, told(response)
    assert response.headers["Content-Type"].lower() == "text/html; charset=utf-8", told(response)
    assert "<form" in response.text, told(response)


def test_the_page_answers_head(client: Client) -> None:
    response = client.request("HEAD", "/")
    assert (response.status_code, response.content) == (200, b""), told(response)


def test_a_job_without_an_id_gets_a_uuid_of_version_7_made_now(client: Client) -> None:
    before_ms = time.time_ns() // 1_000_000
    job = client.submit(10)
    after_ms = time.time_ns() // 1_000_000
    id = UUID(job.id)
    assert str(id) == job.id
    assert id.version == 7
    made_ms = id.int >> 80
    assert before_ms - 1_000 <= made_ms <= after_ms + 1_000, (before_ms, made_ms, after_ms)


def test_a_job_keeps_the_id_that_its_caller_chose(client: Client) -> None:
    id = str(uuid4())
    assert client.submit(10, id=id).id == id


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"n":90,"client":"%s"}', JSON),
        ('{"n":"90","client":"%s"}', JSON),
        ('{"n":90,"client":"%s"}', JSON + "; charset=utf-8"),
        ("n=90&client=%s", FORM),
        ("n=90&client=%s", FORM + ";charset=UTF-8"),
    ],
)
def test_n_may_be_an_integer_a_string_or_a_form_field(client: Client, body: str, content_type: str) -> None:
    with client.private() as socket:
        job = accepted(client.post((body % client.token).encode(), content_type))
        assert job.n == 90
        assert socket.result(job)["value"] == "2880067194370816120"


def test_a_body_of_exactly_1_kib_is_accepted(client: Client) -> None:
    body = f'{{"n": 10, "client": "{client.token}"}}'.encode().ljust(1024)
    assert accepted(client.post(body, JSON)).n == 10


def test_a_result_carries_its_job_its_digits_and_its_timings(client: Client) -> None:
    with client.private() as socket:
        job = client.submit(1000)
        event = socket.result(job)
    assert event.keys() == {"type", "seq", "id", "n", "digits", "value", "timings"}, event
    assert (event["id"], event["n"], event["digits"]) == (job.id, 1000, 209), event
    assert event["value"] == fibonacci(1000)
    assert isinstance(event["seq"], int) and event["seq"] > 0, event
    assert event["timings"].keys() == {"queued", "computed"}, event
    for micros in event["timings"].values():
        assert isinstance(micros, int) and 0 <= micros < 30_000_000, event


def test_two_clients_do_not_see_each_others_private_results(client: Client, other: Client) -> None:
    with client.private() as mine, other.private() as theirs, client.bare() as everyones:
        my_job = client.submit(11)
        mine.result(my_job)
        their_job = other.submit(12)
        theirs.result(their_job)
        # The broadcast comes after both in the log, so a socket that has it would already have them.
        sentinel = client.submit(13, private=False)
        for socket in (mine, theirs, everyones):
            socket.result(sentinel)
        assert their_job.id not in {event["id"] for event in mine.seen}, str(mine)
        assert my_job.id not in {event["id"] for event in theirs.seen}, str(theirs)
        assert not {my_job.id, their_job.id} & {event["id"] for event in everyones.seen}, str(everyones)


def test_two_sockets_of_one_client_see_the_same(client: Client) -> None:
    with client.private() as one, client.private() as two:
        job = client.submit(14)
        assert one.result(job) == two.result(job)


def test_a_broadcast_reaches_bare_and_private_sockets_alike(client: Client, other: Client) -> None:
    with client.bare() as bare, client.private() as mine, other.private() as theirs:
        job = client.submit(93, private=False)
        events = [socket.result(job) for socket in (bare, mine, theirs)]
    assert events[0]["value"] == "12200160415121876738"
    assert events[0] == events[1] == events[2]


def test_a_job_posted_as_soon_as_the_socket_is_open_is_not_missed(client: Client) -> None:
    for n in range(30):
        with client.private() as socket:
            assert socket.result(client.submit(n))["value"] == fibonacci(n)


def test_a_job_posted_twice_is_computed_once_and_gets_the_same_answer(client: Client) -> None:
    id = str(uuid4())
    with client.private() as socket:
        first = client.submit(20, id=id)
        second = client.submit(20, id=id)
        assert first == second
        socket.result(first)
        third = client.submit(20, id=id)
        assert third == first
        for _ in range(10):
            socket.result(client.submit(21))
        ends = [event for event in socket.seen if event["id"] == id and event["type"] != "started"]
        assert len(ends) == 1, str(socket)


def test_a_job_posted_ten_times_at_once_is_computed_once(client: Client) -> None:
    id = str(uuid4())
    with client.private() as socket, ThreadPoolExecutor(10) as pool:
        jobs = list(pool.map(lambda _: client.submit(22, id=id), range(10)))
        assert set(jobs) == {jobs[0]}
        socket.result(jobs[0])
        for _ in range(10):
            socket.result(client.submit(23))
        assert [event["id"] for event in socket.seen].count(id) == 1, str(socket)


def test_500_jobs_over_one_socket_are_answered_once_each(client: Client) -> None:
    with client.private() as socket, ThreadPoolExecutor(16) as pool:
        jobs = list(pool.map(client.submit, range(500)))
        assert len({job.id for job in jobs}) == 500
        results = socket.results(jobs, within_s=60)
        # When the log is read again, it contains exactly what arrived over the socket.
        with client.private(since=socket.seen[0]["seq"] - 1) as again:
            replayed = again.results(jobs)
    for job in jobs:
        assert (results[job.id]["n"], results[job.id]["value"]) == (job.n, fibonacci(job.n)), results[job.id]
    assert replayed == results
