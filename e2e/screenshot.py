"""Takes the README's picture of the page: `python -m e2e.screenshot --base-url URL --out docs/page.png`."""

import argparse
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from .browser import launch
from .test_page import ask, shows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with sync_playwright() as playwright, launch(playwright) as browser:
        page = browser.new_page(
            base_url=arguments.base_url, viewport={"width": 1200, "height": 800}, color_scheme="light",
            reduced_motion="reduce",
        )  # fmt: skip
        page.goto("/")
        expect(page.locator("#connection")).to_have_text("Connected")
        for n in (10, 1000):
            ask(page, str(n))
            shows(page, n)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=arguments.out)


if __name__ == "__main__":
    main()
