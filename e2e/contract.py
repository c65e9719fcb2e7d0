"""docs/openapi.yaml and docs/asyncapi.yaml as checks on what the tests receive, and a record of what has occurred."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

Document = dict[str, Any]

_DOCS = Path(__file__).parent.parent / "docs"

# The parts of the documents that have occurred since the tests began, named as in `everything`.
_occurred: set[str] = set()


@cache
def document(name: str) -> Document:
    """One of the documents: openapi.yaml, asyncapi.yaml or schemas.yaml."""
    loaded: Document = yaml.safe_load((_DOCS / name).read_text())
    return loaded


@cache
def registry() -> Registry[Any]:
    """All documents, so that references between them can be resolved."""
    names = ("openapi.yaml", "asyncapi.yaml", "schemas.yaml")
    return Registry().with_resources((uri(name), DRAFT202012.create_resource(document(name))) for name in names)


def uri(name: str) -> str:
    return (_DOCS / name).as_uri()


@cache
def validator(name: str, *keys: str) -> Draft202012Validator:
    """Checks values against the schema that stands at `keys` in a document."""
    pointer = "".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in keys)
    return Draft202012Validator({"$ref": f"{uri(name)}#{pointer}"}, registry=registry(), format_checker=FormatChecker())


def validate(value: object, schema: Draft202012Validator, what: str) -> None:
    """Insists that a value is valid. A message of megabytes is not quoted in full."""
    error = best_match(schema.iter_errors(value))
    assert error is None, (
        f"{what} is not as documented: {error.json_path} breaks {error.validator}={error.validator_value!r:.200}, "
        f"in {json.dumps(error.instance):.300}"
    )


def check_message(message: Mapping[str, Any]) -> None:
    """Insists that a message to a client is one of those in asyncapi.yaml."""
    name = message["type"]
    assert name in messages(), f"an undocumented type of message: {name}"
    validate(message, validator("asyncapi.yaml", "components", "messages", name, "payload"), f"the message {name}")
    _occurred.add(f"message {name}")


def check_queue_message(name: str, headers: Mapping[str, str], payload: bytes) -> None:
    """Insists that a message of the queue is as in asyncapi.yaml."""
    for part, value in (("headers", dict(headers)), ("payload", json.loads(payload))):
        validate(value, validator("asyncapi.yaml", "components", "messages", name, part), f"the {part} of a {name}")
    _occurred.add(f"queue message {name}")


def check_close(code: int) -> None:
    """Insists that a close code of the server is documented. 1000 and 1005 answer a client's own close."""
    if code in (1000, 1005):
        return
    assert str(code) in close_codes(), f"an undocumented close code: {code}"
    _occurred.add(f"close code {code}")


def check_response(
    method: str, path: str, status: int, headers: Mapping[str, str], body: Callable[[], bytes] | None
) -> None:
    """Insists that a response is one of those in openapi.yaml. Without `body` it is not looked at."""
    what = f"the answer {status} to {method} {path}"
    name = response_name(path, status)
    assert name is not None, f"{what} is not documented"
    key = ("components", "responses", name)
    documented = document("openapi.yaml")["components"]["responses"][name]
    for header in documented.get("headers", {}):
        check_header(header, headers, key, what)
    content = documented.get("content")
    if content is not None:
        media_type = headers["Content-Type"].partition(";")[0]
        assert media_type in content, f"{what} has the undocumented content type {media_type}"
        if body is not None and method != "HEAD" and media_type.endswith("json"):
            validate(json.loads(body()), validator("openapi.yaml", *key, "content", media_type, "schema"), what)
    _occurred.add(f"response {name}")


def check_header(header: str, headers: Mapping[str, str], response: tuple[str, ...], what: str) -> None:
    keys = (*response, "headers", header)
    documented = document("openapi.yaml")
    for key in keys:
        documented = documented[key]
    if "$ref" in documented:
        keys = ("components", "headers", documented["$ref"].rpartition("/")[2])
        documented = document("openapi.yaml")["components"]["headers"][keys[-1]]
    value = headers.get(header)
    if value is None:
        assert not documented.get("required", False), f"{what} has no {header}"
        return
    typed = int(value) if documented["schema"].get("type") == "integer" else value
    validate(typed, validator("openapi.yaml", *keys, "schema"), f"{header} of {what}")


def response_name(path: str, status: int) -> str | None:
    """The name of the documented response, if there is one. A path that is not documented answers as `/` does."""
    paths = document("openapi.yaml")["paths"]
    template = "/static/{path}" if path.startswith("/static/") else path
    for operation in paths.get(template, paths["/"]).values():
        reference = operation["responses"].get(str(status))
        if reference is not None:
            name: str = reference["$ref"].rpartition("/")[2]
            return name
    return None


def messages() -> set[str]:
    """The types of messages that a client receives."""
    return set(document("asyncapi.yaml")["channels"]["socket"]["messages"])


def close_codes() -> set[str]:
    return set(document("asyncapi.yaml")["channels"]["socket"]["x-close-codes"])


def everything(*, services: bool) -> set[str]:
    """Names all that the documents describe, as far as the five services or else the standalone binary have it."""
    return {name for name, only_services in _named() if services or not only_services}


def _named() -> Iterator[tuple[str, bool]]:
    yield from ((f"message {name}", False) for name in messages())
    yield from ((f"close code {code}", False) for code in close_codes())
    for name, response in document("openapi.yaml")["components"]["responses"].items():
        yield f"response {name}", response.get("x-services-only", False)
    yield from (
        (f"queue message {name}", True)
        for name in document("asyncapi.yaml")["components"]["messages"].keys() - messages()
    )


def occurred() -> frozenset[str]:
    return frozenset(_occurred)
