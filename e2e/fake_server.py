"""A server for the page whose answers a test decides, among them those that no real server gives on demand."""

import json
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, WebSocketRoute, expect

from .on_page import ask, posted

TIMINGS = {"queued": 310, "computed": 1_500}


class FakeServer:
    """Takes every job, and pushes what a test says."""

    def __init__(self, page: Page) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.jobs: list[dict[str, Any]] = []
        self.refuse_sockets = False
        self.page = page
        page.route_web_socket(re.compile("/ws"), self.connect)
        page.add_init_script(
            "WebSocket = class extends WebSocket { constructor(url) { super(url); window.newestSocket = this; } };"
        )
        page.route("**/fib", self.accept)
        page.goto("/")
        expect(page.locator("#connection")).to_have_text("Connected")

    def connect(self, socket: WebSocketRoute) -> None:
        if self.refuse_sockets:
            socket.close(code=1001)
        else:
            self.sockets.append(socket)

    def accept(self, route: Route) -> None:
        job = posted(route.request)
        self.jobs.append(job)
        route.fulfill(status=202, json={"id": job["id"], "n": int(job["n"])})

    def answer_with(self, answers: list[Callable[[Route], None]]) -> list[str]:
        """Gives these answers to the next jobs, then accepts. Returns the ids of all jobs that come, as they come."""
        left = list(answers)
        ids: list[str] = []

        def answer(route: Route) -> None:
            ids.append(posted(route.request)["id"])
            (left.pop(0) if left else self.accept)(route)

        self.page.unroute("**/fib")
        self.page.route("**/fib", answer)
        return ids

    def push(self, type: str, seq: int, **fields: object) -> None:
        self.sockets[-1].send(json.dumps({"type": type, "seq": seq, **fields}))

    def push_at_once(self, events: list[dict[str, object]]) -> None:
        """Pushes more than what can be handed to the browser one by one in reasonable time."""
        self.page.evaluate(
            """events => {
                for (const event of events)
                    window.newestSocket.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(event) }));
            }""",
            events,
        )

    def ask(self, n: int) -> str:
        """Submits on the page, and returns the id of the job that arrived, once the page knows that it was accepted."""
        known = len(self.jobs)
        with self.page.expect_response("**/fib"):
            ask(self.page, str(n))
        assert len(self.jobs) == known + 1
        id = str(self.jobs[-1]["id"])
        # The response can be here before the page has read it.
        expect(self.page.locator(f".card[data-id='{id}']")).to_have_attribute("data-state", "queued")
        return id
