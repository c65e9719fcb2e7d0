"""The page for people who use a keyboard, a screen reader, a phone, the dark, or less motion."""

import re
from typing import Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from .client import Client
from .conftest import NewPage
from .on_page import ask, card, shows
from .page_states import INJECTED, REAL, State, under_way

# Violations of WCAG and of what the makers of axe call best practice.
_AXE = f"""async () => {{
    {AXE_SCRIPT};
    const results = await axe.run();
    if (results.passes.length < 10) throw new Error("axe has looked at hardly anything");
    return results.violations.map(({{ id, help, nodes }}) => [id, help, nodes.map((node) => node.html)]);
}}"""

# WCAG 2.2 AA for text of ordinary size.
_CONTRAST = 4.5


def test_everything_can_be_reached_and_used_with_tab_and_enter(page: Page) -> None:
    expect(page.locator("#n")).to_be_focused()
    page.keyboard.type("1000")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Compute")).to_be_focused()
    page.keyboard.press("Space")
    shows(page, 1000)
    page.keyboard.press("Tab")
    copy = card(page, 1000).get_by_role("button", name="Copy")
    expect(copy).to_be_focused()
    outline = copy.evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid", "the focus cannot be seen"


def name(state: State) -> str:
    return state.__name__


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", REAL, ids=name)
def test_axe_finds_nothing(new_page: NewPage, state: State, scheme: str) -> None:
    page = new_page("about:blank", color_scheme=scheme, reduced_motion="reduce")
    state(page)
    assert page.evaluate(_AXE) == []


@pytest.mark.injected
@pytest.mark.browser_errors("status of 503")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", INJECTED, ids=name)
def test_axe_finds_nothing_while_the_page_waits(new_page: NewPage, state: State, scheme: str) -> None:
    page = new_page("about:blank", color_scheme=scheme, reduced_motion="reduce")
    state(page)
    assert page.evaluate(_AXE) == []


def test_names_roles_and_landmarks_are_told(page: Page) -> None:
    ask(page, "10")
    shows(page, 10)
    expect(page).to_have_title("fibwire")
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("banner")).to_have_count(1)
    expect(page.get_by_role("textbox", name="Which Fibonacci number?")).to_have_count(1)
    expect(page.get_by_role("textbox")).to_have_accessible_description(re.compile("whole number"))
    expect(page.get_by_role("button", name="Compute")).to_have_count(1)
    expect(page.get_by_role("region", name="Your results")).to_be_visible()
    expect(page.get_by_role("heading", name="F(10)", level=3)).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(card(page, 10).get_by_role("button", name="Copy")).to_have_accessible_description("F(10)")
    for button in page.get_by_role("button").all():
        expect(button).to_have_accessible_name(re.compile(r"\w"))
    ids = page.locator("[id]").evaluate_all("elements => elements.map(element => element.id)")
    assert len(ids) == len(set(ids)), ids


def test_a_screen_reader_hears_of_the_connection_and_of_each_result(page: Page) -> None:
    expect(page.get_by_role("status").first).to_have_text("Connected")
    ask(page, "10")
    expect(page.locator("#news")).to_have_text("F(10) is 55.")
    ask(page, "1000")
    expect(page.locator("#news")).to_have_text("F(1000) is ready, 209 digits.")


# A width of 640 is also 200 % zoom of 1280, and 320 is 400 % of it.
@pytest.mark.parametrize(
    ("width", "text_size"),
    [(320, "100%"), (375, "100%"), (640, "100%"), (640, "200%"), (768, "200%"), (1280, "200%")],
)
def test_nothing_is_wider_than_the_screen_or_cut_off(
    new_page: NewPage, client: Client, width: int, text_size: str
) -> None:
    page = new_page(viewport={"width": width, "height": 640})
    page.evaluate("size => { document.documentElement.style.fontSize = size; }", text_size)
    for n in (10, 1000, 100_000, 10_000_000):
        ask(page, str(n))
        expect(card(page, n)).to_have_attribute("data-state", "done")
    card(page, 10_000_000).locator(".line").first.wait_for()
    client.submit(90, private=False)
    page.locator("#broadcast .card").first.wait_for()
    for summary in page.locator("summary").all():
        summary.click()
    ask(page, "-1")
    expect(page.locator("#refusal")).not_to_be_empty()
    wide, screen = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= screen == width
    assert page.locator("body *").evaluate_all(_CUT_OFF) == []
    target = page.get_by_role("button", name="Compute").bounding_box()
    assert target is not None and target["height"] >= 44, target


# The elements that are wider than their box and hide the rest, or that stick out of their card.
_CUT_OFF = """all => all
  .filter(element => element.checkVisibility() && !element.closest(".unseen, .lane, progress"))
  .filter(element => {
    const hides = getComputedStyle(element).overflowX !== "visible" && element.tagName !== "INPUT";
    const edge = element.closest(".card")?.getBoundingClientRect().right ?? innerWidth;
    return (hides && element.scrollWidth > element.clientWidth) || element.getBoundingClientRect().right > edge + 1;
  })
  .map(element => element.outerHTML.slice(0, 100))"""


def test_on_a_phone_a_title_does_not_break_inside_its_number(new_page: NewPage) -> None:
    page = new_page(viewport={"width": 320, "height": 640})
    ask(page, "10000000")
    title = card(page, 10_000_000).get_by_role("heading")
    expect(title).to_have_text("F(10\u202f000\u202f000)")
    lines = title.evaluate(
        """title => {
            const range = document.createRange();
            range.selectNodeContents(title);
            return new Set([...range.getClientRects()].map(line => line.top)).size;
        }"""
    )
    assert lines == 1


def test_a_phone_offers_its_number_keys_but_no_zoom_lock(page: Page) -> None:
    expect(page.locator("#n")).to_have_attribute("inputmode", "numeric")
    viewport = page.locator("meta[name=viewport]").get_attribute("content") or ""
    assert "maximum-scale" not in viewport and "user-scalable" not in viewport
    size = page.locator("#n").evaluate("element => parseFloat(getComputedStyle(element).fontSize)")
    assert size >= 16, "a phone would zoom in on the input"


@pytest.mark.browser_errors("status of 422")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_the_light_and_in_the_dark(new_page: NewPage, client: Client, scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    ask(page, "1000")
    shows(page, 1000)
    client.submit(90, private=False)
    page.locator("#broadcast .card").first.wait_for()
    ask(page, "-1")
    expect(page.locator("#refusal")).not_to_be_empty()
    texts = page.locator("h1, h2, h3, p, label, button, input, .count").evaluate_all(_COLOURS)
    dim = {text: ratio for text, ink, paper in texts if (ratio := contrast(ink, paper)) < _CONTRAST}
    assert len(texts) > 8
    assert dim == {}


def test_the_dark_page_is_dark(new_page: NewPage) -> None:
    papers = [
        new_page(color_scheme=scheme).locator("html").evaluate("html => getComputedStyle(html).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert luminance(papers[0]) > 0.8 and luminance(papers[1]) < 0.05, papers


@pytest.mark.injected
@pytest.mark.browser_errors("status of 503")
@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_moves_for_people_who_want_no_motion(
    new_page: NewPage, motion: Literal["reduce", "no-preference"], moves: bool
) -> None:
    page = new_page("about:blank", reduced_motion=motion)
    under_way(page)
    moving = page.locator("*").evaluate_all(
        """all => all.filter(element => {
            const { animationName, transitionDuration } = getComputedStyle(element);
            return animationName !== "none" || transitionDuration !== "0s";
        }).length"""
    )
    assert (moving > 0) == moves


def test_with_forced_colours_the_state_and_the_journey_can_be_seen(new_page: NewPage) -> None:
    page = new_page(forced_colors="active", reduced_motion="reduce")
    ask(page, "10000000")
    card(page, 10_000_000).locator(".line").first.wait_for()
    paper = page.locator("html").evaluate("html => getComputedStyle(html).backgroundColor")
    legs = page.locator(".lane [data-state=done]").evaluate_all(
        "legs => legs.filter(leg => leg.checkVisibility({ visibilityProperty: true }))"
        ".map(leg => getComputedStyle(leg).backgroundColor)"
    )
    assert len(legs) >= 4
    assert paper not in legs
    dot = page.locator("#connection").evaluate("state => getComputedStyle(state, '::before').borderStyle")
    assert dot == "solid"


# Each shown text with its own colour and that of the nearest opaque background behind it.
_COLOURS = """elements => elements
  .filter(element => element.checkVisibility() && (element.textContent.trim() || element.value))
  .map(element => {
    let behind = element;
    while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    const [ink, paper] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
    return [element.textContent.trim().slice(0, 30) || element.value, ink, paper];
  })"""


def contrast(ink: str, paper: str) -> float:
    """The contrast ratio of two CSS colours, by WCAG 2.2."""
    dark, light = sorted((luminance(ink), luminance(paper)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(channel) / 255 for channel in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
