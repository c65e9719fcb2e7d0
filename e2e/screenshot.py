"""Takes a picture of each state of the page: `python -m e2e.screenshot target/release/fibwire docs/screenshots`."""

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from .browser import launch
from .page_states import INJECTED, REAL, without_scripts

_SCREENS = {"desktop": (880, 560), "phone": (360, 640)}
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
    parser.add_argument("binary", type=Path, help="the standalone binary, which is started for it")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with running(arguments.binary) as base_url, sync_playwright() as playwright, launch(playwright) as browser:
        take(browser, base_url, arguments.out)


@contextmanager
def running(binary: Path) -> Iterator[str]:
    """Starts the binary on a free port and an empty directory, yields its address, and stops it afterwards."""
    with tempfile.TemporaryDirectory() as data:
        command = [str(binary), "--listen", "127.0.0.1:0", "--data", data]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            yield next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        finally:
            process.terminate()
            process.communicate()


if __name__ == "__main__":
    main()
