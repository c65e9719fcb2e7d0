"""The page while it has to wait: for a server that refuses, for a connection, or for an answer that was missed."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from .conftest import NewPage
from .fake_server import TIMINGS, FakeServer
from .on_page import ask, card

pytestmark = pytest.mark.injected

Answer = Callable[[Route], None]

# A browser's timers are late at times, and a countdown is drawn four times a second.
_SLACK_S = 2


def refusal(status: int, retry_after_s: int) -> Answer:
    def answer(route: Route) -> None:
        problem = {"status": status, "detail": "Wait for the seconds in Retry-After."}
        route.fulfill(status=status, json=problem, headers={"Retry-After": str(retry_after_s)})

    return answer


def aborted(route: Route) -> None:
    route.abort("connectionreset")


@pytest.fixture
def fake(new_page: NewPage) -> FakeServer:
    return FakeServer(new_page("about:blank"))


@pytest.fixture
def page(fake: FakeServer) -> Page:
    return fake.page


@pytest.mark.browser_errors("status of ", "net::ERR_CONNECTION_RESET")
@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (refusal(429, 1), "That was faster than the server allows."),
        (refusal(502, 1), "The server is starting or away."),
        (refusal(503, 1), "The queue takes no jobs at the moment."),
        (refusal(504, 1), "The server took too long to answer."),
        (aborted, "The server cannot be reached."),
    ],
)
def test_a_job_that_is_not_accepted_yet_is_sent_again_with_the_same_id(
    fake: FakeServer, page: Page, answer: Answer, sentence: str
) -> None:
    ids = fake.answer_with([answer, answer])
    ask(page, "10")
    expect(card(page, 10).locator(".note")).to_have_text(re.compile(rf"{re.escape(sentence)} Trying again"))
    expect(card(page, 10).locator(".note")).to_have_text("Queued")
    assert ids == [ids[0]] * 3


@pytest.mark.browser_errors("status of ")
@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_is_as_long_as_retry_after_says_and_is_counted_down(fake: FakeServer, page: Page, status: int) -> None:
    fake.answer_with([refusal(status, 3)])
    started = time.monotonic()
    ask(page, "10")
    note = card(page, 10).locator(".note")
    for seconds in (3, 2, 1):
        expect(note).to_contain_text(f"Trying again in {seconds} s.")
    expect(note).to_have_text("Queued")
    # At most a quarter longer, so that clients who were refused together do not come back together.
    assert 3 <= time.monotonic() - started < 3 * 1.25 + _SLACK_S


@pytest.mark.browser_errors("status of 503")
def test_a_person_who_does_not_want_to_wait_can_try_now(fake: FakeServer, page: Page) -> None:
    ids = fake.answer_with([refusal(503, 60)])
    ask(page, "10")
    card(page, 10).get_by_role("button", name="Try now").click()
    expect(card(page, 10).locator(".note")).to_have_text("Queued")
    assert ids == [ids[0]] * 2


@pytest.mark.browser_errors("status of 503")
def test_a_countdown_is_not_read_out_again_and_again(fake: FakeServer, page: Page) -> None:
    fake.answer_with([refusal(503, 60)])
    page.evaluate(_RECORD_ANNOUNCEMENTS)
    ask(page, "10")
    note = card(page, 10).locator(".note")
    expect(note).to_contain_text("Trying again in ")
    (seconds,) = re.findall(r"\d+", note.inner_text())
    expect(note).to_contain_text(f"Trying again in {int(seconds) - 2} s.")
    assert page.evaluate("() => window.announced") == ["F(10) is not accepted yet. It is sent again."]


@pytest.mark.browser_errors("status of 503")
def test_after_two_minutes_the_page_stops_trying_and_offers_to_try_again(fake: FakeServer, page: Page) -> None:
    # The server recognises a repeated id for two minutes.
    ids = fake.answer_with([refusal(503, 120)])
    ask(page, "10")
    expect(card(page, 10).get_by_role("alert")).to_have_text("The queue takes no jobs at the moment.")
    card(page, 10).get_by_role("button", name="Try again").click()
    expect(card(page, 10).locator(".note")).to_have_text("Queued")
    assert ids == [ids[0]] * 2


@pytest.mark.browser_errors("status of 503")
def test_a_job_that_was_not_accepted_yet_outlives_a_reload(fake: FakeServer, page: Page) -> None:
    ids = fake.answer_with([refusal(503, 60)])
    ask(page, "10")
    expect(card(page, 10).locator(".note")).to_contain_text("Trying again")
    page.reload()
    expect(card(page, 10).locator(".note")).to_have_text("Queued")
    assert ids == [ids[0]] * 2


@pytest.mark.browser_errors("status of 503")
def test_a_job_that_was_not_accepted_yet_can_be_taken_off_the_list(fake: FakeServer, page: Page) -> None:
    ids = fake.answer_with([refusal(503, 1), refusal(503, 2)])
    ask(page, "10")
    card(page, 10).get_by_role("button", name="Remove").click()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#n")).to_be_focused()
    # When this one is sent again after two seconds, the one before would have been sent again.
    ask(page, "11")
    expect(card(page, 11).locator(".note")).to_have_text("Queued")
    assert len(ids) == 3 and ids[0] != ids[1] == ids[2]


def test_a_long_job_can_be_taken_off_the_list(fake: FakeServer, page: Page) -> None:
    kept = fake.ask(10)
    long = fake.ask(10_000_000)
    fake.push("progress", 1, id=long, n=10_000_000, fraction=0.1)
    expect(card(page, 10_000_000).locator(".note")).to_have_text("Computing, 10 %")
    card(page, 10_000_000).get_by_role("button", name="Remove").press("Enter")
    expect(card(page, 10_000_000)).to_have_count(0)
    expect(card(page, 10).get_by_role("button", name="Remove")).to_be_focused()

    # What still comes about it shows up nowhere, also after a reload.
    def finish(seq: int) -> None:
        fake.push("result", seq, id=long, n=10_000_000, digits=2, value="55", timings=TIMINGS)
        fake.push("result", seq + 1, id=kept, n=10, digits=2, value="55", timings=TIMINGS)
        expect(card(page, 10)).to_have_attribute("data-state", "done")
        expect(page.locator(".card")).to_have_count(1)

    finish(2)
    page.reload()
    expect(page.locator("#connection")).to_have_text("Connected")
    finish(2)


def test_a_lost_connection_says_when_the_next_try_is(fake: FakeServer, page: Page) -> None:
    status = page.locator("#connection [role=status]")
    page.evaluate(_RECORD_ANNOUNCEMENTS)
    fake.refuse_sockets = True
    fake.sockets[-1].close(code=1001)
    # The pauses grow, each shortened by chance, and those under a second are not counted down.
    for seconds in (3, 2, 1):
        expect(page.locator("#connection")).to_contain_text(f"Next try in {seconds} s", timeout=20_000)
        expect(status).to_have_text("Reconnecting…")
    assert page.evaluate("() => window.announced") == ["Reconnecting…"]
    fake.refuse_sockets = False
    expect(page.locator("#connection")).to_have_text("Connected", timeout=20_000)


# Collects what a screen reader would read out: each new text of a live region.
_RECORD_ANNOUNCEMENTS = """() => {
  window.announced = [];
  const observer = new MutationObserver((records) => {
    const texts = records.map(({ target }) => target.parentElement?.closest("[role=status], [role=alert], output")
      ?? target.closest?.("[role=status], [role=alert], output")).filter(Boolean).map((region) => region.textContent);
    for (const text of texts) if (text !== "" && window.announced.at(-1) !== text) window.announced.push(text);
  });
  observer.observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
