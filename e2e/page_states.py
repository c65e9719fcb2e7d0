"""Brings the page into each of its states, for pictures and for checks that hold in all of them."""

from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from .client import Client
from .expected import fibonacci
from .fake_server import TIMINGS, FakeServer
from .on_page import ask, card, shows

LONG_N = 10_000_000

State = Callable[[Page], None]


def empty(page: Page) -> None:
    """The page as it is opened."""
    page.goto("/")
    expect(page.locator("#connection")).to_have_text("Connected")


def refusal(page: Page) -> None:
    """The answer to an input that is not a number."""
    empty(page)
    ask(page, "-3")
    expect(page.locator("#refusal")).not_to_be_empty()


def results(page: Page) -> None:
    """Two short results, and the journey of the first, unfolded."""
    empty(page)
    for n in (10, 1000):
        ask(page, str(n))
        shows(page, n)
    card(page, 1000).locator("summary").click()
    page.locator("#n").focus()


def long_result(page: Page) -> None:
    """A long result, scrolled to a digit."""
    empty(page)
    ask(page, str(LONG_N))
    long = card(page, LONG_N)
    expect(long.locator(".line").first).to_be_visible(timeout=60_000)
    field = long.get_by_role("textbox", name="Go to digit")
    field.fill("1000000")
    field.press("Enter")
    expect(long.locator("mark")).to_be_visible()


def broadcast(page: Page) -> None:
    """Results that everybody sees."""
    empty(page)
    with Client(page.url) as client:
        for n in (55, 90):
            client.submit(n, private=False)
            expect(page.locator(f"#broadcast .card[data-n='{n}']")).to_be_visible()


def without_scripts(page: Page) -> None:
    """The page where JavaScript is off."""
    page.goto("/")


def accepted(page: Page) -> None:
    """The answer to a form that the browser sends by itself, as it does where JavaScript is off."""
    empty(page)
    page.locator("#n").fill("100")
    page.locator("#ask").evaluate("form => form.submit()")
    expect(page.get_by_role("heading", level=2)).to_have_text("F(100) is queued")


def under_way(page: Page) -> None:
    """A long job that is being computed, one that is queued, and one that is sent again in a while."""
    fake = FakeServer(page)
    fake.ask(1000)
    id = fake.ask(LONG_N)
    fake.push(
        "preview", 1, id=id, n=LONG_N, digits=2_089_877, first="11298343782253997603", last="86998673686380546875"
    )
    fake.push("progress", 2, id=id, n=LONG_N, fraction=0.42)
    page.unroute("**/fib")
    page.route("**/fib", _unavailable)
    ask(page, "77")
    expect(card(page, 77).locator(".note")).to_contain_text("Trying again in")
    expect(card(page, LONG_N).locator(".note")).to_have_text("Computing, 42 %")


def trouble(page: Page) -> None:
    """A job that failed, one whose answer was missed, and a connection that is lost."""
    fake = FakeServer(page)
    failed = fake.ask(60_000_000)
    fake.push("failed", 1, id=failed, n=60_000_000, reason="This number needs more memory than the calculator may use.")
    done = fake.ask(90)
    fake.push("result", 2, id=done, n=90, digits=19, value=fibonacci(90), timings=TIMINGS)
    fake.ask(500)
    fake.push("gap", 3)
    expect(card(page, 500).locator(".note")).to_contain_text("missed")
    fake.sockets[-1].close(code=1013, reason="There are too many connections.")
    expect(page.locator("#connection")).to_contain_text("Next try in")


def _unavailable(route: Route) -> None:
    route.fulfill(status=503, json={"status": 503, "detail": "no"}, headers={"Retry-After": "30"})


# The states that the real system brings about, and those that need injected answers.
REAL: list[State] = [empty, refusal, results, long_result, broadcast, accepted]
INJECTED: list[State] = [under_way, trouble]
