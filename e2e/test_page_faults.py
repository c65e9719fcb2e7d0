"""The page when its server misbehaves. The answers are injected, since no real server gives them."""

import pytest
from playwright.sync_api import Page, Route, expect

from .conftest import NewPage
from .expected import fibonacci
from .fake_server import TIMINGS, FakeServer
from .on_page import ask, card, posted

pytestmark = pytest.mark.injected


@pytest.fixture
def fake(new_page: NewPage) -> FakeServer:
    return FakeServer(new_page("about:blank"))


@pytest.fixture
def page(fake: FakeServer) -> Page:
    return fake.page


def test_each_step_of_a_long_job_is_shown(fake: FakeServer, page: Page) -> None:
    id = fake.ask(50_000)
    value = fibonacci(50_000)
    job = {"id": id, "n": 50_000}
    long = card(page, 50_000)
    expect(long.locator(".note")).to_have_text("Queued")
    fake.push("started", 1, **job, attempt=2)
    expect(long.locator(".note")).to_have_text("Computing, attempt 2")
    fake.push("preview", 2, **job, digits=len(value), first=value[:20], last=value[-20:])
    expect(long.locator(".end")).to_have_text([f"{value[:20]}…", value[-20:]])
    fake.push("progress", 3, **job, fraction=0.42)
    expect(long.get_by_role("progressbar")).to_have_js_property("value", 0.42)
    expect(long.locator(".note")).to_contain_text("42 %")
    fake.push("part", 4, **job, index=0, parts=2, value=value[:5000])
    expect(long.locator(".note")).to_contain_text("Receiving, 50 %")
    fake.push("part", 5, **job, index=1, parts=2, value=value[5000:])
    fake.push("result", 6, **job, digits=len(value), parts=2, timings=TIMINGS)
    expect(long.locator(".facts")).to_have_text("10\u202f450 digits · computed in 1.50 ms")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    long.get_by_role("button", name="Copy").click()
    expect(long.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == value


def test_a_failure_is_told_with_its_reason_and_can_be_asked_again(fake: FakeServer, page: Page) -> None:
    id = fake.ask(13)
    fake.push("failed", 1, id=id, n=13, reason="It was given up after three attempts.")
    expect(card(page, 13).get_by_role("alert")).to_have_text("It was given up after three attempts.")
    card(page, 13).get_by_role("button", name="Ask again").press("Enter")
    expect(card(page, 13).locator(".note")).to_have_text("Queued")
    expect(page.get_by_role("heading", name="Your results")).to_be_focused()
    assert [job["n"] for job in fake.jobs] == ["13", "13"]
    assert fake.jobs[1]["id"] != id


def test_an_event_that_comes_twice_changes_nothing(fake: FakeServer, page: Page) -> None:
    id = fake.ask(10)
    for seq in (1, 1, 2):
        fake.push("result", seq, id=id, n=10, digits=2, value="55", timings=TIMINGS)
    fake.push("failed", 3, id=id, n=10, reason="no")
    other = fake.ask(11)
    fake.push("result", 4, id=other, n=11, digits=2, value="89", timings=TIMINGS)
    expect(card(page, 11)).to_have_attribute("data-state", "done")
    expect(card(page, 10)).to_have_count(1)
    expect(card(page, 10).locator(".value")).to_have_text("55")


def test_a_result_that_comes_before_its_202_is_shown(fake: FakeServer, page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.unroute("**/fib")
    page.route("**/fib", hold)
    with page.expect_request("**/fib") as posting:
        ask(page, "10")
    job = posted(posting.value)
    fake.push("result", 1, id=job["id"], n=10, digits=2, value="55", timings=TIMINGS)
    expect(card(page, 10).locator(".value")).to_have_text("55")
    held[0].fulfill(status=202, json={"id": job["id"], "n": 10})
    expect(card(page, 10)).to_have_attribute("data-state", "done")


def test_results_stand_in_the_order_of_the_clicks_whichever_is_accepted_first(fake: FakeServer, page: Page) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            fake.accept(route)
        else:
            held.append(route)

    page.unroute("**/fib")
    page.route("**/fib", hold_the_first)
    with page.expect_request("**/fib"):
        ask(page, "10")
    fake.ask(11)
    expect(card(page, 11).locator(".note")).to_have_text("Queued")
    fake.accept(held[0])
    expect(card(page, 10).locator(".note")).to_have_text("Queued")
    assert page.locator("#own h3").all_text_contents() == ["F(11)", "F(10)"]


def test_a_dropped_socket_resumes_after_the_last_event(fake: FakeServer, page: Page) -> None:
    id = fake.ask(10)
    fake.push("result", 41, id=id, n=10, digits=2, value="55", timings=TIMINGS)
    expect(card(page, 10)).to_have_attribute("data-state", "done")
    assert "since" not in fake.sockets[0].url
    fake.sockets[-1].close(code=1001)
    expect(page.locator("#connection")).to_contain_text("Reconnecting…")
    expect(page.locator("#connection")).to_have_text("Connected")
    assert fake.sockets[-1].url.endswith("&since=41")
    page.reload()
    expect(page.locator("#connection")).to_have_text("Connected")
    assert fake.sockets[-1].url.endswith("&since=40"), "a reload has to bring the own results back"


def test_a_socket_that_drops_before_any_event_reads_the_whole_log(fake: FakeServer, page: Page) -> None:
    fake.ask(10)
    fake.sockets[-1].close(code=1001)
    expect(page.locator("#connection")).to_contain_text("Reconnecting…")
    expect(page.locator("#connection")).to_have_text("Connected")
    assert fake.sockets[-1].url.endswith("&since=0")


def test_a_job_that_was_asked_again_is_not_taken_for_a_broadcast(fake: FakeServer, page: Page) -> None:
    missed = fake.ask(10)
    fake.push("gap", 1)
    card(page, 10).get_by_role("button", name="Ask again").click()
    again = fake.jobs[-1]["id"]
    for seq, id in enumerate([missed, again], start=2):
        fake.push("result", seq, id=id, n=10, digits=2, value="55", timings=TIMINGS)
    expect(card(page, 10)).to_have_attribute("data-state", "done")
    expect(page.locator(".card")).to_have_count(1)


def test_a_gap_before_the_answer_to_a_post_may_have_swallowed_the_result(fake: FakeServer, page: Page) -> None:
    def answer(route: Route) -> None:
        fake.push("gap", 1)
        fake.accept(route)

    fake.answer_with([answer])
    ask(page, "10")
    expect(card(page, 10).get_by_role("button", name="Ask again")).to_be_visible()


def test_a_gap_is_told_only_where_an_answer_is_missing(fake: FakeServer, page: Page) -> None:
    answered = fake.ask(10)
    fake.push("result", 500, id=answered, n=10, digits=2, value="55", timings=TIMINGS)
    fake.ask(11)
    running = fake.ask(12)
    # The server was restarted and counts from the beginning.
    fake.push("gap", 7)
    fake.push("progress", 8, id=running, n=12, fraction=0.5)
    expect(card(page, 11).locator(".note")).to_contain_text("may have been missed")
    expect(card(page, 10).locator(".note")).to_be_hidden()
    expect(card(page, 12).locator(".note")).to_have_text("Computing, 50 %")
    fake.sockets[-1].close(code=1001)
    expect(page.locator("#connection")).to_contain_text("Reconnecting…")
    expect(page.locator("#connection")).to_have_text("Connected")
    assert fake.sockets[-1].url.endswith("&since=8")
    card(page, 11).get_by_role("button", name="Ask again").click()
    expect(card(page, 11).locator(".note")).to_have_text("Queued")
    assert fake.jobs[-1]["n"] == "11"


def test_a_long_result_with_a_missing_part_is_not_passed_off_as_whole(fake: FakeServer, page: Page) -> None:
    id = fake.ask(50_000)
    fake.push("part", 5, id=id, n=50_000, index=1, parts=2, value=fibonacci(50_000)[5000:])
    fake.push("result", 6, id=id, n=50_000, digits=10_450, parts=2, timings=TIMINGS)
    expect(card(page, 50_000).get_by_role("button", name="Ask again")).to_be_visible()
    expect(card(page, 50_000).get_by_role("button", name="Download")).to_be_hidden()


@pytest.mark.browser_errors("status of 500")
def test_an_error_without_a_sentence_gets_one(fake: FakeServer, page: Page) -> None:
    page.unroute("**/fib")
    page.route("**/fib", lambda route: route.fulfill(status=500, body="<h1>oops</h1>"))
    ask(page, "10")
    expect(page.locator("#refusal")).to_have_text("The server answered with status 500 and no reason.")


def test_what_the_server_says_is_text_and_never_markup(fake: FakeServer, page: Page) -> None:
    id = fake.ask(10)
    fake.push("failed", 1, id=id, n=10, reason="<img src=x onerror=alert(1)>")
    expect(card(page, 10).locator(".note")).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.locator("main img")).to_have_count(0)


def test_ten_thousand_broadcasts_at_once_leave_the_page_usable(fake: FakeServer, page: Page) -> None:
    id = fake.ask(10)
    broadcast = {"type": "result", "n": 90, "digits": 19, "value": fibonacci(90), "timings": TIMINGS}
    fake.push_at_once([broadcast | {"seq": seq, "id": f"broadcast-{seq}"} for seq in range(1, 10_001)])
    fake.push("result", 10_001, id=id, n=10, digits=2, value="55", timings=TIMINGS)
    expect(card(page, 10).locator(".value")).to_have_text("55")
    expect(page.locator("#broadcast .count")).to_have_text("10\u202f000")
    expect(page.locator("#broadcast .card")).to_have_count(20)
    expect(page.locator("#broadcast .card").first).to_have_attribute("data-id", "broadcast-10000")


def test_of_the_own_jobs_the_last_hundred_are_kept(fake: FakeServer, page: Page) -> None:
    for number in range(1, 104):
        id = fake.ask(number)
        fake.push("result", number, id=id, n=number, digits=1, value="1", timings=TIMINGS)
    expect(page.locator("#own .card").first).to_have_attribute("data-n", "103")
    expect(page.locator("#own .card")).to_have_count(100)
    expect(page.locator("#own .card").last).to_have_attribute("data-n", "4")


@pytest.mark.parametrize(("code", "words"), [(1008, "This origin may not connect."), (1013, "Too many sockets.")])
def test_a_refused_socket_says_why(fake: FakeServer, page: Page, code: int, words: str) -> None:
    fake.sockets[-1].close(code=code, reason=words)
    expect(page.locator("#connection [role=status]")).to_have_text(words)
