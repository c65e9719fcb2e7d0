"""Checks docs/asyncapi.yaml and the examples of both documents: `python -m e2e.check_contract`.

openapi-spec-validator checks docs/openapi.yaml itself.
"""

import warnings
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft7Validator, Draft202012Validator

from .contract import document, registry, uri, validate, validator

_DOCUMENTS = ("openapi.yaml", "asyncapi.yaml", "schemas.yaml")


def main() -> None:
    check_structure()
    references = sum(check_references(name) for name in _DOCUMENTS)
    schemas = sum(map(check_schema, every_schema()))
    examples = sum(check_example(*example) for example in every_example())
    print(f"docs: {references} references, {schemas} schemas and {examples} examples are valid")


def check_structure() -> None:
    """Insists that asyncapi.yaml has the fields that AsyncAPI 3.0 gives each of its objects."""
    with warnings.catch_warnings():
        # Names in its models that pydantic uses too.
        warnings.simplefilter("ignore", UserWarning)
        from asyncapi3 import AsyncAPI3
    AsyncAPI3.model_validate(document("asyncapi.yaml"))


def check_references(name: str) -> int:
    """Insists that every reference of a document leads somewhere."""
    resolver = registry().resolver(uri(name))
    references = list(find(document(name), "$ref"))
    for reference in references:
        resolver.lookup(reference)
    return len(references)


def find(value: object, key: str) -> Iterator[Any]:
    """The values of `key`, at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for inner in value.values():
            yield from find(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from find(inner, key)


def every_schema() -> Iterator[dict[str, Any]]:
    """All that is a schema to both formats."""
    yield from document("schemas.yaml")["$defs"].values()
    for message in document("asyncapi.yaml")["components"]["messages"].values():
        yield message["payload"]
        yield message.get("headers", {})


def check_schema(schema: dict[str, Any]) -> int:
    Draft202012Validator.check_schema(schema)
    # The dialect that AsyncAPI extends.
    Draft7Validator.check_schema(schema)
    return 1


def every_example() -> Iterator[tuple[str, tuple[str, ...], object]]:
    """The document, the keys of the schema, and the example."""
    for name, message in document("asyncapi.yaml")["components"]["messages"].items():
        for example in message["examples"]:
            for part, value in example.items():
                if part != "name":
                    yield "asyncapi.yaml", ("components", "messages", name, part), value
    for name, response in document("openapi.yaml")["components"]["responses"].items():
        for media_type, content in response.get("content", {}).items():
            if media_type.endswith("json"):
                schema = ("components", "responses", name, "content", media_type, "schema")
                yield "openapi.yaml", schema, content["example"]
    body = ("paths", "/fib", "post", "requestBody", "content")
    for media_type, content in document("openapi.yaml")["paths"]["/fib"]["post"]["requestBody"]["content"].items():
        for example in content["examples"].values():
            yield "openapi.yaml", (*body, media_type, "schema"), example["value"]
    for name, definition in document("schemas.yaml")["$defs"].items():
        for example in definition.get("examples", []):
            yield "schemas.yaml", ("$defs", name), example


def check_example(name: str, keys: tuple[str, ...], example: object) -> int:
    validate(example, validator(name, *keys), f"an example of {'/'.join(keys)} in {name}")
    return 1


if __name__ == "__main__":
    main()
