"""Finds import cycles between the files of a crate.

One file imports another if it names an item that is defined there: in a `use`, or in a path that begins with
`crate`, `self`, `super` or a child module. A name that a module re-exports counts as an import of the file that
defines it. Declaring a module is not an import.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Segments = tuple[str, ...]
# Which files a file imports, and a path in its source that shows it.
Imports = dict[Path, dict[Path, str]]

NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?r(?P<hashes>\#*)".*?"(?P=hashes)|"(?:\\.|[^"\\])*"|'(?:\\u\{\w+\}|\\.|[^\\'])'""",
    re.DOTALL,
)
CODE = re.compile(
    r"\bmod\s+(?P<module>\w+)\s*(?P<form>[;{])|\buse\s+(?P<use>[^;]+);|(?P<brace>[{}])|(?P<path>\b\w+(?:::\w+)+)"
)
ROOTS = ("src/lib.rs", "src/main.rs", "src/bin/*.rs", "tests/*.rs", "tests/*/main.rs", "examples/*.rs", "benches/*.rs")


@dataclass
class Module:
    """A module of a crate: a file, or a block within one."""

    file: Path
    parent: "Module | None" = None
    children: dict[str, "Module"] = field(default_factory=dict)
    # What each name in scope stands for, if a `use` brought it there.
    names: dict[str, Segments] = field(default_factory=dict)
    # All paths in the module's source.
    paths: list[Segments] = field(default_factory=list)

    def tree(self) -> Iterator["Module"]:
        yield self
        for child in self.children.values():
            yield from child.tree()


def load(file: Path, directory: Path, parent: Module | None = None) -> Module:
    """The module in `file` with its children, whose files are in `directory`."""
    root = Module(file, parent)
    code = NOT_CODE.sub('""', file.read_text(encoding="utf-8"))
    # The module at each open brace, and the directory of its children.
    open_modules = [(root, directory)]
    for token in CODE.finditer(code):
        module, directory = open_modules[-1]
        if name := token["module"]:
            if token["form"] == "{":
                module.children[name] = Module(file, module)
                open_modules.append((module.children[name], directory / name))
            else:
                module.children[name] = load(directory / f"{name}.rs", directory / name, module)
        elif token["use"]:
            for path, alias in leaves(token["use"]):
                module.paths.append(path)
                module.names[alias] = path
        elif token["path"]:
            module.paths.append(tuple(token["path"].split("::")))
        elif token["brace"] == "{":
            open_modules.append(open_modules[-1])
        else:
            open_modules.pop()
    return root


def leaves(tree: str, prefix: Segments = ()) -> Iterator[tuple[Segments, str]]:
    """The paths of a `use`, each with the name that it brings into scope."""
    head, brace, rest = (part.strip() for part in tree.strip().partition("{"))
    if not brace:
        path, _, alias = (part.strip() for part in head.partition(" as "))
        segments = prefix + tuple(segment.strip() for segment in path.split("::"))
        if segments[-1] in {"self", "*"}:
            segments = segments[:-1]
        yield segments, alias or segments[-1]
        return
    prefix += tuple(segment.strip() for segment in head.removesuffix("::").split("::") if segment)
    depth, branch = 0, ""
    for character in rest.rstrip().removesuffix("}") + ",":
        if character == "," and depth == 0:
            if branch.strip():
                yield from leaves(branch, prefix)
            branch = ""
            continue
        depth += (character == "{") - (character == "}")
        branch += character


def defining(module: Module, path: Segments, seen: frozenset[tuple[int, str]] = frozenset()) -> Module | None:
    """The module that defines what `path` names in `module`, or `None` if that is another crate."""
    current: Module | None = module
    if path[0] == "crate":
        while current and current.parent:
            current = current.parent
    elif path[0] not in module.children and path[0] not in {"self", "super"} and path[0] not in module.names:
        return None
    for index, segment in enumerate(path):
        if current is None:
            return None
        if segment == "super":
            current = current.parent
        elif segment in {"crate", "self"}:
            continue
        elif segment in current.children:
            current = current.children[segment]
        elif segment in current.names and (key := (id(current), segment)) not in seen:
            target = defining(current, current.names[segment] + path[index + 1 :], seen | {key})
            # If the name comes from another crate, the re-export itself is what is imported.
            return target or (None if current is module else current)
        else:
            return current
    return current


def imports(root: Module) -> Imports:
    found: Imports = {}
    for module in root.tree():
        edges = found.setdefault(module.file, {})
        for path in module.paths:
            target = defining(module, path)
            if target and target.file != module.file:
                edges.setdefault(target.file, "::".join(path))
    return found


def reachable(graph: Imports, start: Path) -> set[Path]:
    """The files that `start` imports, and those that they import."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()].keys() - found
        found |= new
        waiting += new
    return found


def cycles(graph: Imports) -> list[set[Path]]:
    """The largest groups of files that all import each other, directly or not."""
    reach = {file: reachable(graph, file) for file in graph}
    groups = {frozenset({file} | {other for other in reach[file] if file in reach[other]}) for file in graph}
    return sorted((set(group) for group in groups if len(group) > 1), key=min)


def describe(graph: Imports, cycle: set[Path], top: Path) -> str:
    lines = [
        f"  {file.relative_to(top)} imports {target.relative_to(top)} ({path})"
        for file in sorted(cycle)
        for target, path in sorted(graph[file].items())
        if target in cycle
    ]
    return "\n".join(["import cycle:", *lines])


def main(top: Path) -> int:
    roots = [
        root
        for manifest in sorted(top.rglob("Cargo.toml"))
        if not {"target", ".venv"} & set(manifest.relative_to(top).parts)
        for pattern in ROOTS
        for root in sorted(manifest.parent.glob(pattern))
    ]
    if not roots:
        print(f"there is no crate in {top}", file=sys.stderr)
        return 1
    found = 0
    for root in roots:
        graph = imports(load(root, root.parent))
        for cycle in cycles(graph):
            found += 1
            print(describe(graph, cycle, top), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
