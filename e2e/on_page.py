"""The steps of a person on the page, and the parts of it that tests look at."""

from typing import Any

from playwright.sync_api import Locator, Page, Request, expect

from .expected import fibonacci


def ask(page: Page, n: str) -> None:
    """Types `n` and presses Enter, with the keyboard alone."""
    page.locator("#n").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(n)
    page.keyboard.press("Enter")


def card(page: Page, n: int) -> Locator:
    return page.locator(f"#own .card[data-n='{n}']")


def shows(page: Page, n: int) -> None:
    """Waits until F(n) stands on the page in full."""
    expect(card(page, n).locator(".value")).to_have_text(fibonacci(n))
    expect(card(page, n)).to_have_attribute("data-state", "done")


def grouped(number: int) -> str:
    """A number as the page writes it, in groups of three from five digits on."""
    return f"{number:,}".replace(",", "\u202f") if number >= 10_000 else str(number)


def posted(request: Request) -> dict[str, Any]:
    """The job that the page has posted."""
    body = request.post_data_json
    assert isinstance(body, dict), body
    return body
