"""A client of fibwire whose methods are the verbs of the protocol. A failure says what was sent and returned."""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

Event = dict[str, Any]

PROBLEM = "application/problem+json"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_ANSWER_S = 10
_RESULT_S = 30
# A long result arrives in parts of at most 512 KiB. No message may be larger than this.
_FRAME_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class Job:
    """What a 202 says."""

    id: str
    n: int


class Client:
    """A client of one base URL, with its own private token."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = new_token()
        self._http = httpx.Client(base_url=self.base_url, timeout=_ANSWER_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def origin(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def submit(self, n: int, *, private: bool = True, id: str | None = None) -> Job:
        """Posts one job to this client's private channel, or as a broadcast, and requires a 202."""
        fields: dict[str, Any] = {"n": n}
        if private:
            fields["client"] = self.token
        if id is not None:
            fields["id"] = id
        return accepted(self.post_json(fields))

    def post_json(self, fields: object) -> httpx.Response:
        return self.post(json.dumps(fields).encode(), JSON)

    def post_form(self, fields: Mapping[str, str]) -> httpx.Response:
        return self.post(urlencode(fields).encode(), FORM)

    def post(self, body: bytes | Iterable[bytes], content_type: str | None) -> httpx.Response:
        """Posts a body as it is. After a 429, waits for as long as the server asks and posts again."""
        headers = {} if content_type is None else {"Content-Type": content_type}
        while True:
            response = self.request("POST", "/fib", content=body, headers=headers)
            if response.status_code != 429:
                return response
            time.sleep(float(response.headers["Retry-After"]))

    def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        return self._http.request(method, path, content=content, headers=headers)

    def bare(self) -> "Socket":
        """A socket of broadcasts: `/ws` without a query."""
        return self.socket()

    def private(self, since: int | None = None) -> "Socket":
        """A socket of this client's private channel."""
        return self.socket(client=self.token, **({} if since is None else {"since": str(since)}))

    def socket(self, *, origin: str | None = None, **query: str) -> "Socket":
        """A socket with any query and origin."""
        url = "ws" + self.base_url.removeprefix("http") + "/ws" + (f"?{urlencode(query)}" if query else "")
        headers = {} if origin is None else {"Origin": origin}
        return Socket(url, headers)


class Socket:
    """A WebSocket and all events that arrived over it."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self.seen: list[Event] = []
        self._headers = headers
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        connecting = connect(
            self.url,
            additional_headers=self._headers,
            max_size=_FRAME_BYTES,
            max_queue=None,
            proxy=None,
            compression=None,
        )
        self._connection: ClientConnection = self._exit.enter_context(connecting)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def next(self, within_s: float = _RESULT_S) -> Event:
        """The next event, of whatever type."""
        try:
            text = self._connection.recv(timeout=within_s)
        except TimeoutError:
            raise AssertionError(f"nothing arrived within {within_s} s\n{self}") from None
        except ConnectionClosed as closed:
            raise AssertionError(f"closed instead of an event: {closed}\n{self}") from closed
        assert isinstance(text, str), f"a binary message of {len(text)} bytes\n{self}"
        event: Event = json.loads(text)
        self.seen.append(event)
        return event

    def until(self, wanted: Callable[[Event], bool], what: str, within_s: float = _RESULT_S) -> Event:
        """Reads events until one is `wanted`, and returns it."""
        deadline = time.monotonic() + within_s
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"no {what} within {within_s} s\n{self}"
            event = self.next(left)
            if wanted(event):
                return event

    def result(self, job: Job, within_s: float = _RESULT_S) -> Event:
        """Reads events until `job` has ended, and requires a result."""
        event = self.until(lambda event: is_end(event, job.id), f"result of {job}", within_s)
        assert event["type"] == "result", f"{job} ended in {event}\n{self}"
        return event

    def results(self, jobs: Iterable[Job], within_s: float = _RESULT_S) -> dict[str, Event]:
        """Reads events until every one of `jobs` has ended, and requires that each ends once."""
        missing = {job.id for job in jobs}
        results: dict[str, Event] = {}
        deadline = time.monotonic() + within_s
        while missing:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(missing)} without a result within {within_s} s: {sorted(missing)[:5]}\n{self}"
            event = self.next(left)
            if event["type"] not in ("result", "failed"):
                continue
            assert event["id"] not in results, f"a second end: {event}\n{self}"
            if event["id"] in missing:
                assert event["type"] == "result", f"{event}\n{self}"
                missing.remove(event["id"])
                results[event["id"]] = event
        return results

    def closed(self, within_s: float = _RESULT_S) -> int:
        """Reads events until the server closes the socket, and returns the close code."""
        try:
            while True:
                self._connection.recv(timeout=within_s)
        except TimeoutError:
            raise AssertionError(f"not closed within {within_s} s\n{self}") from None
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, f"dropped without a close frame: {closed}\n{self}"
            return closed.rcvd.code

    def __str__(self) -> str:
        shown = [json.dumps({key: shorten(value) for key, value in event.items()}) for event in self.seen[-20:]]
        return "\n  ".join([f"{self.url}: {len(self.seen)} events arrived, the last of which are", *shown])


def accepted(response: httpx.Response) -> Job:
    """The job that a 202 names."""
    assert response.status_code == 202, told(response)
    assert response.headers["Content-Type"].split(";")[0] == JSON, told(response)
    answer = response.json()
    assert answer.keys() == {"id", "n"}, told(response)
    return Job(id=answer["id"], n=answer["n"])


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal with `status`, which must be as RFC 9457 and docs/protocol.md require."""
    assert response.status_code == status, told(response)
    assert response.headers["Content-Type"].split(";")[0] == PROBLEM, told(response)
    document: dict[str, Any] = response.json()
    assert document["status"] == status, told(response)
    assert isinstance(document["detail"], str), told(response)
    assert document["detail"].strip(), told(response)
    return document


def told(response: httpx.Response) -> str:
    """A request and its response, for the message of a failed test."""
    request = response.request
    try:
        sent = request.content[:300]
    except httpx.RequestNotRead:
        sent = b"(a stream)"
    return (
        f"{request.method} {request.url} {request.headers.get('Content-Type')} {sent!r}\n"
        f"-> {response.status_code} {dict(response.headers)} {response.text[:500]!r}"
    )


def is_end(event: Event, id: str) -> bool:
    return event["type"] in ("result", "failed") and event["id"] == id


def new_token() -> str:
    return secrets.token_urlsafe(24)


def shorten(value: object) -> object:
    return f"{value[:20]}… ({len(value)})" if isinstance(value, str) and len(value) > 60 else value
