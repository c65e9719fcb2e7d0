"""Any service may be restarted, killed or stopped at any time, and nothing that got a 202 is lost."""

import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Page, expect

from .client import Client, Job, is_end, problem, told
from .eventually import eventually
from .expected import fibonacci
from .on_page import ask, card, shows
from .stack import SERVICES, Container, Stack
from .test_values import check_parts

pytestmark = pytest.mark.compose

_ROOT = Path(__file__).parents[1]
_NATS_PORT = 4222
# How many sockets a server spreads over all of DRAIN, and for how long they stay: until all have come back.
_CROWD = 2500
_CROWD_S = 25
_DRAIN_S = 5

# What a browser writes to its console while no server answers at the address.
OUTAGE = pytest.mark.browser_errors("net::ERR_", "status of 50", "WebSocket connection to")

Fault = Callable[[Container], None]


@pytest.fixture(autouse=True)
def ready_again(stack: Stack) -> Iterator[None]:
    yield
    stack.wait_until_ready()


@OUTAGE
@pytest.mark.parametrize("fault", [Container.restart, Container.kill], ids=["restart", "kill"])
@pytest.mark.parametrize("service", SERVICES)
def test_an_outage_loses_nothing(stack: Stack, client: Client, page: Page, service: str, fault: Fault) -> None:
    """A page shows all that it asked for, and every job that a client got a 202 for ends once."""
    with client.private() as listening:
        seq = listening.result(client.submit(0))["seq"]
    ask(page, "1000")
    shows(page, 1000)
    asked: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(fault, stack.container(service))
        submitting = pool.submit(submit_until, client, failing)
        while not submitting.done() or len(asked) < 10:
            asked.append(60 + len(asked))
            ask(page, str(asked[-1]))
            page.wait_for_timeout(100)
        failing.result()
        accepted = submitting.result()
    for n in asked:
        again = card(page, n).get_by_role("button", name="Try again")
        done = card(page, n).and_(page.locator("[data-state=done]"))
        expect(done.or_(again)).to_be_visible(timeout=30_000)
        if again.is_visible():
            again.click()
        shows(page, n)
    stack.wait_until_ready()
    page.reload()
    for n in (1000, *asked):
        shows(page, n)
    ask(page, "1001")
    shows(page, 1001)
    stack.wait_until_settled()
    ends = client.ends(seq)
    values = [[end["value"] for end in ends.get(job.id, [])] for job in accepted]
    assert values == [[fibonacci(job.n)] for job in accepted]


def test_a_long_job_outlives_the_calculator_that_works_on_it(stack: Stack, client: Client, max_n: int) -> None:
    calculator = stack.container("calculator")
    with client.private() as listening:
        job = client.submit(max_n)
        listening.until(lambda event: event["type"] == "started", "start", within_s=60)
        calculator.kill()
        again = listening.until(lambda event: event["type"] == "started", "second start", within_s=60)
        assert (again["id"], again["attempt"]) == (job.id, 2)
        result = listening.result(job, within_s=120)
    parts = [event for event in listening.seen if event["type"] == "part"]
    check_parts(parts[-result["parts"] :], result)


def test_a_job_whose_calculator_dies_three_times_fails_and_is_not_tried_again(
    stack: Stack, client: Client, max_n: int
) -> None:
    calculator = stack.container("calculator")
    with client.private() as listening:
        seq = listening.result(client.submit(1))["seq"]
        job = client.submit(max_n)
        for attempt in (1, 2, 3):
            started = listening.until(lambda event: event["type"] == "started", f"start {attempt}", within_s=60)
            assert (started["id"], started["attempt"]) == (job.id, attempt)
            calculator.kill()
        end = listening.until(lambda event: is_end(event, job.id), "end", within_s=60)
    assert end["type"] == "failed" and "3 times" in end["reason"], end
    stack.wait_until_settled()
    assert client.ends(seq)[job.id] == [end]


def test_an_id_that_is_sent_again_after_an_outage_is_not_computed_again(stack: Stack, client: Client) -> None:
    queue = stack.container("queue")
    with client.private() as listening:
        seq = listening.result(client.submit(1))["seq"]
        done = client.submit(40)
        listening.result(done)
    unanswered = str(uuid4())
    queue.kill()
    # Each is sent again and again, until it gets a 202.
    jobs = [(40, done.id), (41, unanswered), (40, done.id), (41, unanswered)]
    for n, id in jobs:
        eventually(partial(try_to_submit, client, n, id), "a job being accepted")
    stack.wait_until_settled()
    ends = client.ends(seq)
    assert [[end["value"] for end in ends[id]] for id in (done.id, unanswered)] == [[fibonacci(40)], [fibonacci(41)]]


def test_without_the_queue_a_post_gets_503_at_once_and_the_next_one_works_soon_after(
    stack: Stack, client: Client
) -> None:
    queue = stack.container("queue")
    with client.private() as listening:
        listening.result(client.submit(1))
        queue.stop()
        stopped = time.monotonic()
        answers = 0
        while time.monotonic() - stopped < 10:
            asked = time.monotonic()
            response = client.post_json({"n": 2, "client": client.token})
            assert time.monotonic() - asked < 2, told(response)
            problem(response, 503)
            assert int(response.headers["Retry-After"]) >= 1, told(response)
            answers += 1
        assert answers >= 5
        queue.start()
        eventually(lambda: greets(queue), "the queue being back")
        back = time.monotonic()
        job = eventually(lambda: try_to_submit(client, 3), "a job being accepted", within_s=2)
        assert listening.result(job)["value"] == "2"
        assert time.monotonic() - back < 2


def test_while_the_queue_is_frozen_every_one_of_many_posts_gets_503_within_2_s(stack: Stack, client: Client) -> None:
    async def post(host: str, port: int) -> tuple[int, bool, float]:
        body = b"n=10"
        reader, writer = await asyncio.open_connection(host, port)
        asked = time.monotonic()
        writer.write(
            b"POST /fib HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (host.encode(), port, len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        took_s = time.monotonic() - asked
        writer.close()
        return int(head.split()[1]), b"\r\nretry-after:" in head.lower(), took_s

    async def post_at_once(count: int) -> list[tuple[int, bool, float]]:
        address = urlsplit(client.base_url)
        assert address.hostname is not None
        posts = [post(address.hostname, address.port or 80) for _ in range(count)]
        return await asyncio.gather(*posts)

    # A thread of its own, because Playwright's event loop may be running in this one.
    with stack.container("queue").paused(), ThreadPoolExecutor(1) as pool:
        answers = pool.submit(lambda: asyncio.run(post_at_once(300))).result()
    statuses = [status for status, _, _ in answers]
    assert statuses == [503] * 300, {status: statuses.count(status) for status in set(statuses)}
    assert all(has_retry_after for _, has_retry_after, _ in answers)
    assert max(took_s for _, _, took_s in answers) < 2


def test_sockets_are_told_to_come_back_when_their_server_leaves(stack: Stack, client: Client) -> None:
    with client.private() as listening:
        listening.result(client.submit(4))
        stack.container("websocket").restart()
        assert listening.closed() == 1001


def test_the_sockets_of_a_server_that_ends_come_back_one_after_the_other(stack: Stack, client: Client) -> None:
    with crowd(client.base_url, _CROWD) as crowded:
        with ThreadPoolExecutor(1) as pool:
            restarting = pool.submit(stack.container("websocket").restart)
            # Each is sent to every socket, so there are only a few.
            while wait([restarting], timeout=0.5).not_done:
                client.submit(10, private=False)
        stack.wait_until_ready()
        client.submit(10, private=False)
    report = crowded.result()
    assert [report[what] for what in ("missed", "unread", "gaps")] == [0, 0, 0], report
    assert sum(report["reopened_by_second"]) == _CROWD, report
    assert max(report["reopened_by_second"]) <= 2 * _CROWD / _DRAIN_S, report


def test_a_calculator_without_its_queue_is_alive_and_not_ready(stack: Stack) -> None:
    calculator, queue = stack.container("calculator"), stack.container("queue")
    _, *check = calculator.inspect()["Config"]["Healthcheck"]["Test"]
    before = calculator.pid
    queue.stop()
    eventually(lambda: "not ready: status 503" in calculator.exec(*check).stderr, "a calculator that is not ready")
    queue.start()
    calculator.wait_until_healthy()
    assert calculator.pid == before


def test_all_five_may_be_restarted_at_once(stack: Stack, client: Client) -> None:
    with client.private() as listening:
        seq = listening.result(client.submit(5))["seq"]
    jobs = [client.submit(n) for n in range(20)]
    with ThreadPoolExecutor(len(SERVICES)) as pool:
        list(pool.map(Container.restart, stack.containers()))
    stack.wait_until_ready()
    with client.private(since=seq) as listening:
        results = listening.results(jobs)
        assert listening.result(client.submit(6))["value"] == fibonacci(6)
    assert [results[job.id]["value"] for job in jobs] == [fibonacci(job.n) for job in jobs]


@contextmanager
def crowd(url: str, sockets: int) -> Iterator["Future[dict[str, Any]]"]:
    """So many open sockets, which come back by themselves. Yields what becomes their report after the block."""
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--package", "bench"], cwd=_ROOT, check=True)
    driver = _ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "bench"
    command = [str(driver), "crowd", "--url", url, "--sockets", str(sockets), "--seconds", str(_CROWD_S)]
    report: Future[dict[str, Any]] = Future()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["event"] == "gathered"
            yield report
            report.set_result(json.loads(process.stdout.readline()))
        finally:
            process.terminate()


def submit_until(client: Client, over: "Future[None]") -> list[Job]:
    """Submits jobs until something is over, and at least a hundred."""
    accepted: list[Job] = []
    while not over.done() or len(accepted) < 100:
        accepted.append(eventually(lambda: try_to_submit(client, len(accepted) % 1000), "a job being accepted"))
    return accepted


def try_to_submit(client: Client, n: int, id: str | None = None) -> Job | None:
    """The job, if it got a 202. During an outage, a connection may be refused or break, or the answer be a 50x."""
    try:
        response = client.post_json({"n": n, "client": client.token, **({} if id is None else {"id": id})})
    except httpx.TransportError:
        return None
    if response.status_code != 202:
        assert response.status_code in (502, 503, 504), told(response)
        problem(response, response.status_code)
        return None
    return Job(**response.json())


def greets(queue: Container) -> bool:
    """Whether the queue's server greets a client that connects."""
    address = next(iter(queue.networks().values()))
    with socket.create_connection((address, _NATS_PORT), timeout=1) as connection:
        return connection.recv(4) == b"INFO"
