"""The spans that a receiver got, by trace."""

import base64
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire

from .eventually import eventually

Attribute = str | bool | int | float | None

# The exporter sends what it has every 5 s.
_EXPORTED_S = 30


@dataclass(frozen=True)
class Span:
    """One span, with the service that recorded it."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: list[str]
    start_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, Attribute]


@dataclass(frozen=True)
class TraceParent:
    """The header with which a client has its job traced, or not, as a part of its own trace."""

    trace: str
    span: str
    sampled: bool

    @classmethod
    def new(cls, *, sampled: bool) -> "TraceParent":
        return cls(secrets.token_hex(16), secrets.token_hex(8), sampled)

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"


@dataclass(frozen=True)
class Receiver:
    """A running otlp_receiver.py."""

    # All that it has printed.
    printed: Callable[[], str]

    def address(self) -> str | None:
        """The address at which it listens, or None if it does not yet."""
        first, end, _ = self.printed().partition("\n")
        return first if end else None

    def bodies(self) -> list[bytes]:
        # The first line is the address, and the last one may be unfinished.
        lines = self.printed().splitlines(keepends=True)[1:]
        return [base64.b64decode(line) for line in lines if line.endswith("\n")]

    def spans(self) -> list[Span]:
        return [span for body in self.bodies() for span in _parse(body)]

    def trace(self, trace: str, is_whole: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans of a trace, once they are all there."""
        spans: list[Span] = []

        def whole() -> bool:
            spans[:] = [span for span in self.spans() if span.trace == trace]
            assert is_whole(spans), [(span.service, span.name) for span in spans]
            return True

        eventually(whole, f"trace {trace} being whole", _EXPORTED_S)
        return spans


def _parse(body: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        (service,) = [_value(item.value) for item in resource.resource.attributes if item.key == "service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    service=str(service),
                    name=span.name,
                    kind=Wire.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    links=[link.span_id.hex() for link in span.links if link.trace_id == span.trace_id],
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    attributes={item.key: _value(item.value) for item in span.attributes},
                )


def _value(value: AnyValue) -> Attribute:
    kind = value.WhichOneof("value")
    found: Attribute = None if kind is None else getattr(value, kind)
    return found
