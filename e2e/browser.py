"""Starts Chromium: the one of this machine if there is one, otherwise the one that Playwright installed."""

import os
import shutil

from playwright.sync_api import Browser, Playwright

# Not a loopback name, so that the browser treats the page as an insecure context.
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
    # Chromium's sandbox refuses to run as root, which is the user in most containers that run tests.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=_ARGUMENTS + sandbox
    )
