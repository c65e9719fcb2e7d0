"""A long number on the page: every digit can be reached, and only few of them are in the document."""

import random

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from .conftest import NewPage
from .eventually import eventually
from .expected import fibonacci, length_and_first
from .fake_server import TIMINGS, FakeServer
from .on_page import ask, card, grouped

# Long enough to scroll, and short enough for Python to compute it in an instant.
N = 200_000
# As many digits as a part of a real result has at most.
PART_DIGITS = 512 * 1024
ANY_N = 1_000_000
BILLION = 1_000_000_000


def view(page: Page, n: int) -> Locator:
    """The view of F(n), once its digits are there."""
    digits = card(page, n).locator(".viewport")
    digits.locator(".line").first.wait_for(timeout=120_000)
    return digits


def rows(digits: Locator) -> dict[int, str]:
    """All rows in the document: the place of the first digit, and the digits."""
    lines: list[list[str]] = digits.locator(".line").evaluate_all(
        """lines => lines.map(line => [
            line.querySelector(".place").textContent.replace(/\\D/g, ""),
            [...line.querySelectorAll(".group")].map(group => group.textContent).join(""),
        ])"""
    )
    return {int(place): text for place, text in lines}


def visible_rows(digits: Locator) -> list[int]:
    """The places of the rows of which at least half is visible, from the top."""
    places: list[int] = digits.evaluate(
        """viewport => {
            const { top, bottom } = viewport.getBoundingClientRect();
            return [...viewport.querySelectorAll(".line")].filter(line => {
                const middle = (line.getBoundingClientRect().top + line.getBoundingClientRect().bottom) / 2;
                return middle > top && middle < bottom;
            }).map(line => Number(line.querySelector(".place").textContent.replace(/\\D/g, "")));
        }"""
    )
    return places


def go_to(page: Page, n: int, place: int) -> str:
    """Goes to a digit by its number, and returns the digit that is marked then."""
    field = card(page, n).get_by_role("textbox", name="Go to digit")
    field.fill(str(place))
    field.press("Enter")
    marked = card(page, n).locator("mark")
    expect(marked).to_be_in_viewport()
    digit = marked.inner_text()
    expect(card(page, n).locator(".answer")).to_have_text(f"Digit {grouped(place)} is {digit}")
    return digit


def test_every_digit_can_be_reached_page_by_page(page: Page) -> None:
    ask(page, str(N))
    value = fibonacci(N)
    digits = view(page, N)
    seen: dict[int, str] = {}
    digits.focus()
    while (last := visible_rows(digits)[-1]) not in seen or last + len(seen[last]) <= len(value):
        before = visible_rows(digits)
        seen |= {place: text for place, text in rows(digits).items() if place in before}
        page.keyboard.press("PageDown")
        after = visible_rows(digits)
        assert after[0] <= before[-1] + len(seen[before[-1]]), "a page down skipped a row"
    assert "".join(seen[place] for place in sorted(seen)) == value


def test_home_end_and_arrows_go_where_they_say(page: Page) -> None:
    ask(page, str(N))
    value = fibonacci(N)
    digits = view(page, N)
    digits.press("End")
    last_row = visible_rows(digits)[-1]
    assert last_row + len(rows(digits)[last_row]) == len(value) + 1
    assert value.endswith(rows(digits)[last_row])
    digits.press("ArrowUp")
    assert visible_rows(digits)[-1] < last_row
    digits.press("Home")
    assert visible_rows(digits)[0] == 1
    digits.press("ArrowDown")
    assert visible_rows(digits)[0] == 1 + len(rows(digits)[1])
    digits.press("PageUp")
    assert visible_rows(digits)[0] == 1


def test_a_digit_is_found_by_its_number_and_said(page: Page) -> None:
    ask(page, str(N))
    value = fibonacci(N)
    view(page, N)
    for place in (1, 2, 10, 11, 12_345, len(value) - 1, len(value)):
        assert go_to(page, N, place) == value[place - 1]
    field = card(page, N).get_by_role("textbox", name="Go to digit")
    for typed in ("0", str(len(value) + 1), "abc", ""):
        field.fill(typed)
        card(page, N).get_by_role("button", name="Go").click()
        expect(card(page, N).locator(".answer")).to_have_text(f"Type a number from 1 to {grouped(len(value))}")
        expect(field).to_be_focused()


def test_a_selection_is_copied_as_digits_alone(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, str(N))
    digits = view(page, N)
    digits.focus()
    digits.evaluate(
        """viewport => {
            const lines = viewport.querySelectorAll(".line");
            getSelection().setBaseAndExtent(lines[0].querySelectorAll(".group")[1].firstChild, 5, lines[1].lastChild.firstChild, 3);
        }"""
    )
    page.keyboard.press("ControlOrMeta+c")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    width = len(rows(digits)[1])
    assert copied == fibonacci(N)[15 : 2 * width - 7]


def test_a_selection_stays_on_its_digits_while_they_scroll(page: Page) -> None:
    ask(page, str(N))
    digits = view(page, N)
    selected = digits.evaluate(
        """viewport => {
            getSelection().selectAllChildren(viewport.querySelectorAll(".line")[9].querySelector(".group"));
            return getSelection().toString();
        }"""
    )
    for _ in range(5):
        digits.press("ArrowDown")
    assert page.evaluate("() => getSelection().toString()") == selected


def test_another_width_keeps_the_digit_at_the_top(page: Page) -> None:
    ask(page, str(N))
    digits = view(page, N)
    go_to(page, N, 20_001)
    top = visible_rows(digits)[0]
    for width in (360, 1200):
        page.set_viewport_size({"width": width, "height": 720})
        eventually(lambda: visible_rows(digits)[0] <= top < visible_rows(digits)[1], f"digit {top} at the top")


def test_a_short_number_is_shown_at_once_in_groups_that_are_one_text(page: Page) -> None:
    ask(page, "1000")
    value = fibonacci(1000)
    expect(card(page, 1000).locator(".value")).to_have_text(value)
    expect(card(page, 1000).locator(".group")).to_have_text([value[start : start + 10] for start in range(0, 209, 10)])
    expect(card(page, 1000).locator(".viewport")).to_have_count(0)


@pytest.fixture
def fake(new_page: NewPage) -> FakeServer:
    return FakeServer(new_page("about:blank"))


@pytest.mark.injected
@pytest.mark.browser_errors("net::ERR_FAILED")
def test_without_its_view_a_long_number_is_shown_by_its_ends(new_page: NewPage) -> None:
    page = new_page("about:blank")
    page.route("**/digits.js", lambda route: route.abort())
    fake = FakeServer(page)
    value = fibonacci(N)
    fake.push("result", 1, id=fake.ask(N), n=N, digits=len(value), value=value, timings=TIMINGS)
    expect(card(page, N).locator(".end")).to_have_text([f"{value[:20]}…", value[-20:]])
    expect(card(page, N).get_by_role("button", name="Download")).to_be_visible()


@pytest.mark.injected
def test_the_progress_goes_when_the_view_comes_however_late_that_is(new_page: NewPage) -> None:
    page = new_page("about:blank")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/digits.js", hold)
    fake = FakeServer(page)
    value = fibonacci(N)
    fake.push("result", 1, id=fake.ask(N), n=N, digits=len(value), value=value, timings=TIMINGS)
    expect(card(page, N)).to_have_attribute("data-state", "done")
    expect(card(page, N).locator(".end")).to_have_text([f"{value[:20]}…", value[-20:]])
    expect(card(page, N).get_by_role("progressbar")).to_be_visible()
    # A card is drawn again 200 ms after the click. A timer that is set later fires after that of the page.
    page.evaluate("() => new Promise((done) => setTimeout(done, 200))")
    held[0].continue_()
    view(page, N)
    expect(card(page, N).get_by_role("progressbar")).to_be_hidden()


@pytest.mark.injected
def test_parts_that_come_in_any_order_are_put_together(fake: FakeServer) -> None:
    value = fibonacci(N)
    id = fake.ask(N)
    pieces = [value[start : start + 7_777] for start in range(0, len(value), 7_777)]
    order = list(enumerate(pieces))
    random.Random(1).shuffle(order)
    for seq, (index, piece) in enumerate(order, start=1):
        fake.push("part", seq, id=id, n=N, index=index, parts=len(pieces), value=piece)
    fake.push("result", 100, id=id, n=N, digits=len(value), parts=len(pieces), timings=TIMINGS)
    digits = view(fake.page, N)
    for boundary in range(7_777, len(value), 7_777):
        go_to(fake.page, N, boundary)
        for place, text in rows(digits).items():
            assert value[place - 1 : place - 1 + len(text)] == text


def digit_of_billion(place: int) -> str:
    """The digit of `_PUSH_BILLION` at a place, counted from 1: each part repeats its index in eight digits."""
    part, offset = divmod(place - 1, PART_DIGITS)
    return f"{part:08}"[offset % 8]


# As the parts of a real F(10^9) come, but with digits that a test can work out.
_PUSH_BILLION = """([id, n, digits, partDigits]) => {
    const parts = Math.ceil(digits / partDigits);
    const push = (message) => window.newestSocket.dispatchEvent(
        new MessageEvent("message", { data: JSON.stringify({ id, n, ...message }) }));
    for (let index = 0; index < parts; index += 1) {
        const text = String(index).padStart(8, "0").repeat(partDigits / 8);
        const value = text.slice(0, digits - index * partDigits);
        push({ type: "part", seq: index + 1, index, parts, value });
    }
    push({ type: "result", seq: parts + 1, digits, parts, timings: { queued: 310, computed: 1500 } });
}"""


@pytest.fixture
def billion(fake: FakeServer) -> Page:
    """A page that has all digits of a number as long as F(10^9), which is higher than any element may be."""
    length, _ = length_and_first(BILLION)
    assert length == 208_987_640
    # The page takes n from the events, and so does not mind that its own limit is lower.
    fake.page.evaluate(_PUSH_BILLION, [fake.ask(ANY_N), BILLION, length, PART_DIGITS])
    view(fake.page, BILLION)
    return fake.page


@pytest.mark.injected
def test_every_place_of_f_of_a_billion_can_be_reached(billion: Page) -> None:
    digits = view(billion, BILLION)
    length = 208_987_640
    for place in (1, PART_DIGITS, PART_DIGITS + 1, 100_000_000, 123_456_789, length - 1, length):
        assert go_to(billion, BILLION, place) == digit_of_billion(place)
        assert digits.locator(".line").count() < 200
        for start, text in rows(digits).items():
            assert text == "".join(digit_of_billion(start + offset) for offset in range(len(text)))
    digits.press("Home")
    assert visible_rows(digits)[0] == 1
    digits.press("End")
    assert max(visible_rows(digits)) + len(rows(digits)[max(visible_rows(digits))]) == length + 1


@pytest.mark.injected
def test_the_scrollbar_of_f_of_a_billion_is_scaled_and_the_wheel_is_exact(billion: Page) -> None:
    digits = view(billion, BILLION)
    height = digits.evaluate("viewport => viewport.scrollHeight")
    assert height < 16_000_000, "some browsers cut off what is higher"

    def expect_share(share: float) -> None:
        eventually(lambda: abs(visible_rows(digits)[0] / 208_987_640 - share) < 0.01, f"{share:.0%} of the digits")

    # To drag the scrollbar is to set its place.
    for share in (0.25, 0.5, 0.75):
        digits.evaluate("(viewport, share) => { viewport.scrollTop = viewport.scrollHeight * share; }", share)
        expect_share(share)

    # A wheel moves row by row wherever the scrollbar is, and nothing moves once it rests.
    digits.press("ArrowDown")
    digits.hover()
    row_px = int(digits.locator(".line").first.evaluate("line => line.getBoundingClientRect().height"))
    row_digits = len(rows(digits)[visible_rows(digits)[0]])

    def scrollbar_px() -> float:
        place: float = digits.evaluate("viewport => viewport.scrollTop")
        return place

    def expect_top(place: int) -> None:
        eventually(lambda: visible_rows(digits)[0] == place, f"digit {place} at the top")

    def expect_bar(px: float) -> None:
        eventually(lambda: abs(scrollbar_px() - px) < row_px, f"the scrollbar at {px}, where it belongs")

    for turns in (3, -2):
        place = visible_rows(digits)[0] + turns * row_digits
        bar_px = scrollbar_px()
        billion.mouse.wheel(0, turns * row_px)
        expect_top(place)
        expect_bar(bar_px)
        expect_top(place)


@pytest.mark.injected
def test_a_wheel_reaches_both_ends_of_f_of_a_billion(billion: Page) -> None:
    digits = view(billion, BILLION)
    length = 208_987_640
    for place, turn, end in ((length - 5_000, 600, length), (5_000, -600, 1)):
        go_to(billion, BILLION, place)
        digits.hover()

        def at_the_end(by: int = turn, wanted: int = end) -> bool:
            billion.mouse.wheel(0, by)
            shown = visible_rows(digits)
            return any(start <= wanted < start + len(rows(digits).get(start, "")) for start in shown)

        eventually(at_the_end, f"digit {end}")
