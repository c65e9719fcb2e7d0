"""The command behind `make bench`: builds, measures, and writes the figures and the page."""

import argparse
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from bench import measure, page
from bench.compute import arithmetic
from bench.figures import Alone, Arithmetic, Comparison, Figures, Mode
from bench.systems import Unavailable, say

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
BUILT = TARGET / "release"
EXAMPLE = BUILT / "examples" / "seconds"
PARTS = ("binary", "services", "scaling", "arithmetic")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measures this machine and writes docs/benchmarks.json and, from it, docs/benchmarks.md. "
        "Whatever else runs on the machine shows in the figures.",
    )
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="measure this part; may be repeated. Writes to target/bench"
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure less of everything, to try something out. Writes to target/bench"
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="compare the binary, or with --only services the five services, with those of another tree, in pairs. "
        "The other binary must have been built in DIR/target/release. Writes to target/bench",
    )
    parser.add_argument(
        "--against-arguments",
        metavar="ARGUMENTS",
        help="start the other binary with these arguments instead of those of each mode",
    )
    parser.add_argument(
        "--traced",
        type=float,
        metavar="SHARE",
        help="compare the binary that exports this share of all traces, such as 0.01, with one that exports none, in "
        "pairs. Writes to target/bench",
    )
    parser.add_argument(
        "--scraped",
        action="store_true",
        help="compare the binary whose metrics are read every second with one that has none, in pairs. Writes to "
        "target/bench",
    )
    args = parser.parse_args()
    if args.against and {"scaling", "arithmetic"} & set(args.only or ()):
        parser.error("--against compares the binary and the services")
    with_itself = args.traced is not None or args.scraped
    if with_itself and (args.only or args.against or (args.scraped and args.traced is not None)):
        parser.error("--traced and --scraped each compare the binary with itself, and nothing else is measured")

    # So that SIGTERM also stops the systems that were started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        figures, failed = measured(args)
    except (Unavailable, subprocess.CalledProcessError) as error:
        sys.exit(f"bench: {error}")

    partial = args.only or args.quick or args.against or with_itself or failed
    directory = TARGET / "bench" if partial else ROOT / "docs"
    text = page.render(figures)
    if partial:
        print(text, end="")
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("benchmarks.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n"),
        ("benchmarks.md", text),
    ):
        (directory / name).write_text(content, encoding="utf-8")
        say(f"written: {directory / name}")
    if failed:
        sys.exit(f"bench: not measured: {', '.join(failed)}")


def measured(args: argparse.Namespace) -> tuple[Figures, list[str]]:
    """The figures that were measured, and the names of the parts that failed."""
    load_average = os.getloadavg()[0]
    size = measure.QUICK if args.quick else measure.FULL
    build()
    raise_open_files()
    driver = measure.Driver(BUILT / "bench")
    binary = BUILT / "fibwire"

    figures: Figures = {
        "date": datetime.now(UTC).date().isoformat(),
        "quick": args.quick,
        "machine": measure.machine(driver, BUILT, load_average),
    }
    if args.traced is not None:
        figures["traced"] = measure.compare_traced(driver, ROOT, binary, args.traced, size)
        return figures, []
    if args.scraped:
        figures["scraped"] = measure.compare_scraped(driver, binary, size)
        return figures, []
    if args.against:
        figures["comparisons"] = compared(args, driver, size)
        return figures, []

    @cache
    def alone() -> Alone:
        return measure.alone(EXAMPLE, size)

    def modes() -> list[Mode]:
        return [measure.binary_in_mode(driver, binary, mode, size) for mode in measure.MODES]

    parts: dict[str, Callable[[], Figures]] = {
        "binary": lambda: {"binary": {"alone": alone(), "modes": modes()}},
        "services": lambda: {"services": measure.services(driver, ROOT, binary, alone(), size)},
        "scaling": lambda: {"scaling": measure.scaling(driver, ROOT, size)},
        "arithmetic": lambda: {"arithmetic": measured_arithmetic(size)},
    }
    wanted = {name: part for name, part in parts.items() if name in (args.only or parts)}
    return measure_each(wanted, figures)


def measure_each(parts: Mapping[str, Callable[[], Figures]], figures: Figures) -> tuple[Figures, list[str]]:
    """Adds what each part measures to the figures. A part that fails does not take the others with it: the second
    value has its name.
    """
    failed = []
    for name, measure_part in parts.items():
        try:
            figures.update(measure_part())
        except (Unavailable, subprocess.CalledProcessError) as error:
            say(f"{name}: {error}")
            failed.append(name)
    return figures, failed


def compared(args: argparse.Namespace, driver: measure.Driver, size: measure.Size) -> list[Comparison]:
    """This tree and the one of --against."""
    theirs = args.against.resolve()
    arguments = None if args.against_arguments is None else shlex.split(args.against_arguments)
    parts = args.only or ["binary"]
    comparisons = []
    if "binary" in parts:
        binaries = measure.Variant(BUILT / "fibwire"), measure.Variant(theirs / "target/release/fibwire", arguments)
        comparisons += measure.compare_binaries(driver, *binaries, size)
    if "services" in parts:
        comparisons += measure.compare_services(driver, ROOT, theirs, size)
    return comparisons


def measured_arithmetic(size: measure.Size) -> Arithmetic:
    say("the arithmetic")
    requirements = str(ROOT / "bench/compute-requirements.txt")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", requirements], check=True)
    return arithmetic(EXAMPLE, size.numbers, size.arithmetic_s)


def build() -> None:
    say("building")
    cargo = ["cargo", "build", "--release", "--locked", "--quiet"]
    environment = {**os.environ, "CARGO_TERM_PROGRESS_WHEN": "never"}
    for what in (["--package", "fibwire", "--package", "bench"], ["--package", "fibonacci", "--example", "seconds"]):
        subprocess.run([*cargo, *what], check=True, cwd=ROOT, env=environment)


def raise_open_files() -> None:
    """Raises the limit of open files, also for what is started from here: each socket is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
