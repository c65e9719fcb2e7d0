"""Finds promises in the documentation that name no test, and named tests that do not exist.

A promise is a paragraph that begins with **Invariant:**, or a row of a table whose last column is "tested by". It
names a test, or a rule that a tool checks, by a link such as [`a_test`](its/file.rs). A linked .rs or .py file has to
define that name, and any other file has to contain it.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

DOCUMENTS = ("ARCHITECTURE.md", "SECURITY.md")

_COLUMN = "tested by"
_LINK = re.compile(r"\[`(?P<name>[^`]+)`\]\((?P<target>[^)#]+)\)")
# In Rust, also `name(queue) {` in the macro that makes a test for each kind of queue. In Python, also a constant, which
# is how a script names its rules.
_CODE = {".rs": r"\bfn {0}\b|^ +{0}\(\w+\) \{{", ".py": r"^def {0}\b|^{0} = "}


def promises(text: str) -> Iterator[str]:
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()
        if block.startswith("**Invariant:**"):
            yield " ".join(lines)
        elif lines and lines[0].startswith("|") and _cells(lines[0])[-1] == _COLUMN:
            yield from lines[2:]


def complaints(document: Path) -> Iterable[str]:
    """The faults in the promises of a document."""
    for promise in promises(document.read_text(encoding="utf-8")):
        where = _cells(promise)[-1] if promise.startswith("|") else promise
        named = list(_LINK.finditer(where))
        if not named:
            yield f"{document.name} names no test of: {promise[:100]}"
        for link in named:
            if not is_defined(link["name"], document.parent / link["target"]):
                yield f"{document.name}: there is no {link['name']} in {link['target']}"


def is_defined(name: str, file: Path) -> bool:
    if not file.is_file():
        return False
    text = file.read_text(encoding="utf-8")
    if file.suffix not in _CODE:
        return name in text
    definition = _CODE[file.suffix].format(re.escape(name))
    return re.search(definition, text, re.MULTILINE) is not None


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def main(top: Path) -> int:
    found = [complaint for name in DOCUMENTS for complaint in complaints(top / name)]
    for complaint in found:
        print(complaint, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
