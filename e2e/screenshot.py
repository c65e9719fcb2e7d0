"""Takes a picture of each state of the page: `python -m e2e.screenshot --base-url URL --out docs/screenshots`."""

import argparse
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from .browser import launch
from .page_states import INJECTED, REAL, without_scripts

_SCREENS = {"desktop": (960, 720), "phone": (360, 720)}
_SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def take(browser: Browser, base_url: str, out: Path) -> None:
    for show in (*REAL, *INJECTED, without_scripts):
        for screen, (width, height) in _SCREENS.items():
            for scheme in _SCHEMES:
                context = browser.new_context(
                    base_url=base_url, viewport={"width": width, "height": height}, color_scheme=scheme,
                    reduced_motion="reduce", java_script_enabled=show is not without_scripts,
                )  # fmt: skip
                page = context.new_page()
                show(page)
                name = show.__name__.replace("_", "-")
                page.screenshot(path=out / f"{name}-{screen}-{scheme}.png", full_page=True)
                context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, launch(playwright) as browser:
        take(browser, arguments.base_url, arguments.out)


if __name__ == "__main__":
    main()
