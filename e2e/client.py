"""A client of fibwire whose methods are the verbs of the protocol. A failure says what was sent and returned.

Everything that it receives is checked against docs/openapi.yaml and docs/asyncapi.yaml.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, connect

from .contract import check_close, check_message, check_response

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
    """The job that a 202 names."""

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
        response = self._http.request(method, path, content=content, headers=headers)
        check_response(
            method, response.request.url.path, response.status_code, response.headers, lambda: response.content
        )
        return response

    def bare(self) -> "Socket":
        """A socket of broadcasts: `/ws` without a query."""
        return self.socket()

    def private(self, since: int | None = None) -> "Socket":
        """A socket of this client's private channel."""
        return self.socket(client=self.token, **({} if since is None else {"since": str(since)}))

    def ends(self, since: int) -> dict[str, list[Event]]:
        """The ends of all jobs in the log after `since`, by job. The log is read up to the end of a last job, which
        comes after all others if these have settled.
        """
        last = self.submit(1)
        with self.private(since=since) as socket:
            socket.result(last)
        ends: dict[str, list[Event]] = {}
        for event in socket.seen:
            assert event["type"] != "gap", str(socket)
            if event["type"] in ("result", "failed"):
                ends.setdefault(event["id"], []).append(event)
        return ends

    def socket(self, *, origin: str | None = None, **query: str) -> "Socket":
        """A socket with any query and origin."""
        url = "ws" + self.base_url.removeprefix("http") + "/ws" + (f"?{urlencode(query)}" if query else "")
        headers = {} if origin is None else {"Origin": origin}
        return Socket(url, headers)

    def events(self, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> "EventStream":
        """A stream of Server-Sent Events with any query and headers."""
        return EventStream(self._http, "/events" + (f"?{urlencode(query)}" if query else ""), headers or {})

    def private_events(self, since: int | None = None) -> "EventStream":
        """A stream of the events of this client's private channel."""
        return self.events({"client": self.token, **({} if since is None else {"since": str(since)})})


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
        try:
            self._connection: ClientConnection = self._exit.enter_context(connecting)
        except InvalidStatus as refused:
            _check_handshake(refused.response)
            raise
        assert self._connection.response is not None
        _check_handshake(self._connection.response)
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
        check_message(event)
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
            check_close(closed.rcvd.code)
            return closed.rcvd.code

    def __str__(self) -> str:
        shown = [json.dumps({key: shorten(value) for key, value in event.items()}) for event in self.seen[-20:]]
        return "\n  ".join([f"{self.url}: {len(self.seen)} events arrived, the last of which are", *shown])


class EventStream:
    """One response of Server-Sent Events and all that has come in it."""

    def __init__(self, http: httpx.Client, path: str, headers: Mapping[str, str]) -> None:
        self.path = path
        self.seen: list[Event] = []
        # A comment comes at least every 20 s.
        self._opening = http.stream("GET", path, headers=headers, timeout=_RESULT_S)
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self.response = self._exit.enter_context(self._opening)
        status = self.response.status_code
        check_response("GET", "/events", status, self.response.headers, self.response.read if status != 200 else None)
        self._lines = self.response.iter_lines()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def next(self) -> Event:
        """The next event, whose id is its place in the log."""
        fields = self._fields()
        assert fields.keys() == {"id", "data"}, f"{fields.keys()}\n{self}"
        event: Event = json.loads(fields["data"])
        self.seen.append(event)
        check_message(event)
        assert fields["id"] == str(event["seq"]), f"id {fields['id']}\n{self}"
        return event

    def result(self, job: Job) -> Event:
        """Reads on until `job` is done, and insists on a result."""
        while True:
            event = self.next()
            if event["type"] != "gap" and is_end(event, job.id):
                assert event["type"] == "result", f"{job} ended in {event}\n{self}"
                return event

    def comment(self) -> str:
        """Reads on until a comment comes."""
        for line in self._lines:
            if line.startswith(":"):
                return line
        raise AssertionError(f"the stream ended\n{self}")

    def read_to_end(self) -> None:
        """Reads on until the server ends the response. A response that is cut off is an error of httpx."""
        for _ in self._lines:
            pass

    def _fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for line in self._lines:
            if line == "" and fields:
                return fields
            name, colon, value = line.partition(":")
            if name and colon:
                assert name not in fields, f"a second {name}\n{self}"
                fields[name] = value.removeprefix(" ")
        raise AssertionError(f"the stream ended\n{self}")

    def __str__(self) -> str:
        shown = [json.dumps({key: shorten(value) for key, value in event.items()}) for event in self.seen[-20:]]
        return "\n  ".join([f"{self.path}: {len(self.seen)} events came, the last being", *shown])


def _check_handshake(response: Response) -> None:
    check_response("GET", "/ws", response.status_code, response.headers, lambda: bytes(response.body or b""))


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
