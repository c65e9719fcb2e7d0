"""Finds dependencies that a crate declares and does not use, and dependencies that a crate must not have."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

# In which files the dependencies of each table may be used.
TABLES = {
    "dependencies": ("src/**/*.rs",),
    "dev-dependencies": ("src/**/*.rs", "tests/**/*.rs", "examples/**/*.rs", "benches/**/*.rs"),
    "build-dependencies": ("build.rs",),
}

# What `cargo tree` must not show: crates that a crate must do without, and features of the queue that belong to
# other roles. The arithmetic needs no runtime, the types of what crosses a process boundary need no transport,
# what all daemons share needs no queue, spans know nothing of who exports them, the queue knows neither HTTP nor
# arithmetic nor an exporter, web only submits jobs, and no service needs another.
FORBIDDEN = {
    ("fibonacci", "normal"): r"(tokio|protocol|queue|daemon) v",
    ("daemon", "normal"): r"(queue|fibonacci) v",
    ("trace", "normal"): r"(tokio|opentelemetry_sdk|queue|daemon) v",
    ("protocol", "normal"): r"(tokio|async-nats|clap|axum|hyper) v",
    ("queue", "normal"): r"(axum|hyper|fibonacci|opentelemetry_sdk) v",
    ("calculator", "normal"): r"(web|websocket|fibwire) v",
    ("websocket", "normal"): r"(web|calculator|fibwire) v",
    ("web", "normal"): r"(calculator|websocket|fibwire) v",
    ("web", "normal,features"): r'queue feature "(worker|reader|embedded)"',
}


def unused(package: Path) -> Iterable[str]:
    """The dependencies in the manifest of `package` that its code does not name."""
    manifest = tomllib.loads((package / "Cargo.toml").read_text(encoding="utf-8"))
    for table, patterns in TABLES.items():
        files = [file for pattern in patterns for file in package.glob(pattern)]
        code = "\n".join(re.sub(r"//.*", "", file.read_text(encoding="utf-8")) for file in files)
        for name in manifest.get(table, {}):
            if not re.search(rf"\b{name.replace('-', '_')}\b", code):
                yield f"{package.name}: {name} is in [{table}] and is not used"


def forbidden(tree: str, pattern: str) -> list[str]:
    """The lines of the output of `cargo tree` that match `pattern`."""
    return [line for line in tree.splitlines() if re.match(pattern, line)]


def main() -> int:
    packages = sorted({Path(path).parent for path in run("git", "ls-files", "*/Cargo.toml").split()})
    found = [complaint for package in packages for complaint in unused(package)]
    for (package, edges), pattern in FORBIDDEN.items():
        tree = run("cargo", "tree", "--locked", "--package", package, "--edges", edges, "--prefix", "none")
        found += [f"{package} must not depend on {line}" for line in forbidden(tree, pattern)]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
