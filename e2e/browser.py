"""Starts Chromium: the machine's own where there is one, else the one that Playwright has installed."""

import os
import shutil

from playwright.sync_api import Browser, Playwright

# A name that is no loopback name, to see the page where the browser calls it insecure.
INSECURE_HOST = "fibwire.test"

_ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
]


def launch(playwright: Playwright) -> Browser:
    # Chromium's sandbox refuses to run as root, as in most containers that tests run in.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=_ARGUMENTS + sandbox
    )
