"""A socket is a cursor over the log, so a client that comes back with `since` misses nothing and gets nothing twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from .client import Client, Event, Socket
from .expected import fibonacci, length_and_first
from .raw_socket import RawSocket


def own(socket: Socket, ids: set[str]) -> list[Event]:
    return [event for event in socket.seen if event["id"] in ids]


def test_since_resumes_exactly_where_it_was_left(client: Client) -> None:
    with client.private() as socket:
        jobs = [client.submit(n) for n in range(20)]
        socket.results(jobs)
        events = own(socket, {job.id for job in jobs})
    sequence = [event["seq"] for event in events]
    assert sequence == sorted(set(sequence)), sequence
    for left in (0, 1, 9, 18):
        with client.private(since=sequence[left]) as socket:
            missing = [job for job in jobs if job.id in {event["id"] for event in events[left + 1 :]}]
            socket.results(missing)
            assert own(socket, {job.id for job in jobs}) == events[left + 1 :], str(socket)


def test_since_the_last_event_brings_only_what_is_new(client: Client) -> None:
    with client.private() as socket:
        old = client.submit(30)
        seq = socket.result(old)["seq"]
    with client.private(since=seq) as socket:
        new = client.submit(31)
        assert socket.result(new)["seq"] > seq
        assert own(socket, {old.id, new.id}) == [socket.seen[-1]], str(socket)


def test_a_socket_without_since_starts_with_what_comes_next(client: Client) -> None:
    with client.private() as socket:
        old = client.submit(32)
        socket.result(old)
    with client.private() as socket:
        new = client.submit(33)
        socket.result(new)
        assert own(socket, {old.id, new.id}) == [socket.seen[-1]], str(socket)


def test_what_was_done_while_nobody_listened_is_pushed_on_return(client: Client, other: Client) -> None:
    with client.private() as socket:
        seq = socket.result(client.submit(34))["seq"]
    jobs = [client.submit(n) for n in range(10)]
    broadcast = client.submit(35, private=False)
    with other.private() as theirs:
        theirs.result(other.submit(36))
    with client.private(since=seq) as socket:
        results = socket.results([*jobs, broadcast])
        assert all(event["seq"] > seq for event in socket.seen), str(socket)
    assert [results[job.id]["value"] for job in jobs] == [fibonacci(n) for n in range(10)]


def test_since_0_brings_all_that_is_held(client: Client) -> None:
    jobs = [client.submit(n) for n in range(5)]
    with client.private(since=0) as socket:
        results = socket.results(jobs)
    assert [results[job.id]["value"] for job in jobs] == [fibonacci(n) for n in range(5)]


# The first place lies before or after the log, depending on where the system begins to count.
@pytest.mark.parametrize("seq", [10**12, 2**53, 2**63 - 1])
def test_a_seq_outside_of_the_log_is_a_gap(client: Client, seq: int) -> None:
    with client.private(since=seq) as socket:
        gap = socket.next()
        assert gap.keys() == {"type", "seq"} and gap["type"] == "gap", gap
        assert isinstance(gap["seq"], int) and 0 <= gap["seq"] < 2**53, gap
        result = socket.result(client.submit(37))
        assert result["seq"] > gap["seq"], str(socket)
        assert [event["type"] for event in socket.seen].count("gap") == 1, str(socket)


def test_going_on_from_a_gap_loses_nothing(client: Client) -> None:
    with client.private(since=10**12) as socket:
        gap = socket.next()
    job = client.submit(38)
    with client.private(since=gap["seq"]) as socket:
        assert socket.result(job)["value"] == fibonacci(38)
        assert "gap" not in {event["type"] for event in socket.seen}, str(socket)


def test_a_reader_that_does_not_read_delays_nobody_else(client: Client, other: Client) -> None:
    with RawSocket(client.base_url) as unread, other.private() as listening:
        assert unread.status == 101
        for _ in range(5):
            # More than fits into the kernel's buffers, and `unread` reads none of it.
            job = client.submit(4_000_000, private=False)
            assert listening.result(job, within_s=60)["digits"] == length_and_first(4_000_000)[0]
        job = other.submit(40)
        assert listening.result(job, within_s=5)["value"] == fibonacci(40)


def test_connecting_again_and_again_under_load_loses_and_repeats_nothing(client: Client) -> None:
    ends: dict[str, list[Event]] = {}
    with client.private() as socket:
        seq = socket.result(client.submit(39))["seq"]
    with ThreadPoolExecutor(4) as pool:
        submitting = [pool.submit(client.submit, n) for n in range(100)]
        while len(ends) < 100:
            with client.private(since=seq) as socket:
                for _ in range(min(7, 100 - len(ends))):
                    event = socket.until(lambda event: event["type"] == "result", "result")
                    seq = event["seq"]
                    ends.setdefault(event["id"], []).append(event)
        jobs = [future.result() for future in submitting]
    mine = {job.id: job.n for job in jobs}
    assert {id: [event["value"] for event in ends.get(id, [])] for id in mine} == {
        id: [fibonacci(n)] for id, n in mine.items()
    }
