"""The journey of a job on its card: drawn while one waits, in words for everybody, each span by one clock."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from .client import Client
from .conftest import NewPage
from .expected import fibonacci
from .fake_server import FakeServer
from .on_page import ask, card, shows

LONG_N = 6_000_000
_DURATION = r"\d[\d.]* (µs|ms|s)"


def spans(journey: Locator, clock: str) -> list[str]:
    """The spans that one clock has measured, in words and without the durations."""
    texts = journey.locator(f"[data-clock={clock}] li > :first-child").all_text_contents()
    durations = journey.locator(f"[data-clock={clock}] li > :last-child").all_text_contents()
    assert all(re.fullmatch(_DURATION, duration) for duration in durations), durations
    return texts


def lengths(journey: Locator) -> dict[str, float]:
    """How long each leg is drawn, in pixels."""
    drawn: list[tuple[str, float]] = journey.locator(".lane > *").evaluate_all(
        "legs => legs.map(leg => [leg.dataset.leg, leg.getBoundingClientRect().width])"
    )
    return dict(drawn)


def states(journey: Locator) -> dict[str, str]:
    drawn: list[tuple[str, str]] = journey.locator(".lane > *").evaluate_all(
        "legs => legs.map(leg => [leg.dataset.leg, leg.dataset.state])"
    )
    return {leg: state for leg, state in drawn if leg in ("post", "wait", "receive", "queue", "compute")}


def test_a_long_job_s_journey_is_measured_from_the_post_to_the_last_digit(page: Page) -> None:
    ask(page, str(LONG_N))
    journey = card(page, LONG_N).locator(".journey")
    expect(card(page, LONG_N)).to_have_attribute("data-state", "done", timeout=120_000)
    assert spans(journey, "browser") == [
        "Posted to accepted", "Accepted to first digits", "First digits to last digits",
    ]  # fmt: skip
    assert spans(journey, "server") == ["Accepted to taken", "Taken to computed"]
    expect(journey.locator("summary")).to_have_text(re.compile(rf"Journey, {_DURATION}"))


def test_the_journey_is_folded_and_unfolds_with_the_keyboard(page: Page) -> None:
    ask(page, "10")
    shows(page, 10)
    journey = card(page, 10).locator(".journey")
    expect(journey.locator(".track")).to_be_visible()
    expect(journey.get_by_role("list").first).to_be_hidden()
    journey.locator("summary").press("Enter")
    expect(journey.get_by_role("list").first).to_be_visible()
    expect(journey.get_by_text("Taken to computed")).to_be_visible()


def test_a_broadcast_s_journey_has_what_the_server_measured_alone(page: Page, client: Client) -> None:
    job = client.submit(77, private=False)
    journey = page.locator(f"#broadcast .card[data-id='{job.id}'] .journey")
    expect(journey).to_be_visible()
    assert spans(journey, "browser") == []
    assert spans(journey, "server") == ["Accepted to taken", "Taken to computed"]


def test_after_a_reload_the_journey_has_what_is_still_known(page: Page) -> None:
    ask(page, "10")
    shows(page, 10)
    page.reload()
    shows(page, 10)
    journey = card(page, 10).locator(".journey")
    assert spans(journey, "browser") == ["Posted to accepted"]
    assert spans(journey, "server") == ["Accepted to taken", "Taken to computed"]
    expect(journey.locator("summary")).to_have_text("Journey")


@pytest.fixture
def fake(new_page: NewPage) -> FakeServer:
    # Without motion a leg has its length at once.
    return FakeServer(new_page("about:blank", reduced_motion="reduce"))


def ended(fake: FakeServer, timings: dict[str, int]) -> Locator:
    """The journey of a job that has ended, with the times that the server measured."""
    id = fake.ask(10)
    fake.push("result", 1, id=id, n=10, digits=2, value="55", timings=timings)
    journey = card(fake.page, 10).locator(".journey")
    expect(journey.locator("summary")).to_have_text(re.compile("Journey, "))
    return journey


@pytest.mark.injected
def test_each_step_is_drawn_and_said_when_it_happens(fake: FakeServer) -> None:
    page = fake.page
    value = fibonacci(50_000)
    job = {"id": fake.ask(50_000), "n": 50_000}
    journey = card(page, 50_000).locator(".journey")
    summary = journey.locator("summary")
    expect(summary).to_have_text("Journey: posted, accepted")
    assert states(journey) == {"post": "done", "wait": "now", "receive": "next", "queue": "now", "compute": "next"}
    expect(journey.locator("[data-clock=server] li")).to_have_text(["Accepted to taken…", "Taken to computed…"])
    fake.push("started", 1, **job, attempt=1)
    expect(summary).to_have_text("Journey: posted, accepted, taken")
    assert states(journey) == {"post": "done", "wait": "now", "receive": "next", "queue": "done", "compute": "now"}
    fake.push("part", 2, **job, index=0, parts=2, value=value[:5000])
    expect(summary).to_have_text("Journey: posted, accepted, taken, computed, receiving")
    assert states(journey) == {"post": "done", "wait": "done", "receive": "now", "queue": "done", "compute": "done"}
    fake.push("part", 3, **job, index=1, parts=2, value=value[5000:])
    fake.push("result", 4, **job, digits=len(value), parts=2, timings={"queued": 1, "computed": 1})
    expect(summary).to_have_text(re.compile(rf"Journey, {_DURATION}"))
    assert set(states(journey).values()) == {"done"}


@pytest.mark.injected
def test_the_legs_are_as_long_as_they_took(fake: FakeServer) -> None:
    journey = ended(fake, {"queued": 2_000_000, "computed": 6_000_000})
    drawn = lengths(journey)
    assert drawn["compute"] / drawn["queue"] == pytest.approx(3, rel=0.05)
    # The server's clock says much more than the browser's. Neither is bent to fit the other.
    assert drawn["queue"] > drawn["post"] + drawn["wait"]
    expect(journey.locator("[data-clock=server]")).to_contain_text("2.00 s")
    expect(journey.locator("[data-clock=server]")).to_contain_text("6.00 s")
    assert spans(journey, "browser") == ["Posted to accepted", "Accepted to received"]


@pytest.mark.injected
def test_the_steps_at_the_ends_of_a_short_leg_stay_apart(fake: FakeServer) -> None:
    journey = ended(fake, {"queued": 1, "computed": 6_000_000})
    step = journey.locator(".lane [data-leg=queue]").evaluate(
        "leg => parseFloat(getComputedStyle(leg, '::after').width)"
    )
    drawn = lengths(journey)
    assert min(drawn[leg] for leg in ("post", "wait", "queue", "compute")) >= step > 0, drawn


@pytest.mark.injected
def test_what_the_server_measured_is_drawn_between_posting_and_receiving(fake: FakeServer) -> None:
    journey = ended(fake, {"queued": 1_000, "computed": 1})
    drawn = lengths(journey)
    received = drawn["post"] + drawn["wait"]
    assert drawn["before"] + drawn["queue"] + drawn["compute"] < received
    # Nobody knows by how much the clocks differ.
    assert drawn["before"] == pytest.approx(drawn["after"], rel=0.05)


@pytest.mark.injected
def test_a_job_that_failed_has_no_journey(fake: FakeServer) -> None:
    fake.push("failed", 1, id=fake.ask(10), n=10, reason="It was given up after three attempts.")
    expect(card(fake.page, 10)).to_have_attribute("data-state", "failed")
    expect(card(fake.page, 10).locator(".journey")).to_be_hidden()
