"""Renders docs/benchmarks.md from what was measured: `python -m bench.page benchmarks.json > benchmarks.md`."""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from bench.figures import (
    Alone,
    Arithmetic,
    Binary,
    Comparison,
    Figures,
    Large,
    Load,
    Machine,
    Mode,
    PlainPair,
    Scaling,
    Services,
    Traced,
)

NOTHING = "—"

LOAD_HEAD = [
    "N = 90",
    "jobs per second",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "server's CPU per job",
    "driver's CPU per job",
    "syncs per job",
]
LARGE_HEAD = [
    "all digits of F(10^8)",
    "best",
    "of which computing",
    "best / alone",
    "median",
    "small jobs done",
    "p50",
    "p99",
    "max",
]


def render(figures: Figures) -> str:
    """The page, with a section for each part that was measured."""
    sections = [head(figures)]
    if "binary" in figures:
        sections.append(binary(figures["binary"]))
    if "services" in figures:
        sections.append(services(figures["services"]))
    if "scaling" in figures:
        sections.append(scaling(figures["scaling"]))
    if "arithmetic" in figures:
        sections.append(arithmetic(figures["arithmetic"], figures["machine"]))
    if "comparisons" in figures:
        sections.append(comparisons(figures["comparisons"]))
    if "traced" in figures:
        sections.append(traced(figures["traced"]))
    if "scraped" in figures:
        sections.append(scraped(figures["scraped"]))
    return "\n\n".join(sections) + "\n"


def head(figures: Figures) -> str:
    machine = figures["machine"]
    fsync = machine["fsync"]
    quick = "This was a quick run, whose figures vary more than those of a full one.\n\n" if figures["quick"] else ""
    return f"""# Benchmarks

Written by `make bench` on {figures["date"]}. The next run replaces this page, and the figures that it is
rendered from, in [benchmarks.json](benchmarks.json).

{quick}- {describe(machine)}, {machine["memory_gb"]:.0f} GB of memory
- writing 4 KiB to this disk and syncing: p50 {time(fsync["p50_us"])}, p99 {time(fsync["p99_us"])}
- load average before the run: {machine["load_average_before"]:.2f}

A job's time begins just before its `POST /fib` is written and ends when its result has arrived over the
WebSocket. The load is a closed loop: as soon as a job has its result, the next one is posted. Each value
is checked, and each job must have exactly one result; otherwise there is no figure. The driver (`bench/`)
shares the machine's cores with what it measures. Syncs are those of the whole disk, whichever process
caused them.

The tables headed "N = 90" show `bench load` with `--in-flight 1` or `64` and `--sockets one` or
`private=64`; those headed "all digits of F(10^8)" show `bench large --n 100000000` with and without
`--with-small-jobs`. `bench idle` measures the memory of sockets, and `bench fsync` the disk."""


def describe(machine: Machine) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['kernel']}"


def binary(measured: Binary) -> str:
    alone, modes = measured["alone"], measured["modes"]
    starts = [[mode["label"], significant(mode["start_ms"]) + " ms", *idle_cells(mode)] for mode in modes]
    loads = [
        load_row(f"{mode['label']}, {what}", load, load["server_cpu_us_per_job"])
        for mode in modes
        for what, load in (
            ("1 in flight", mode["one"]),
            ("64 in flight, one socket", mode["many"]),
            ("64 in flight, 64 private sockets", mode["many_private"]),
        )
    ]
    larges = [
        large_row(label, large, alone["all_threads_s"])
        for mode in modes
        for label, large in (
            (mode["label"], mode["large"]),
            (f"{mode['label']}, with small jobs", mode["large_with_small_jobs"]),
        )
    ]
    idle_head = [
        "",
        "start",
        "memory",
        "sockets",
        "opened in",
        "memory per socket",
        "memory per socket after a broadcast",
        "broadcast reached all in",
    ]
    return f"""## The binary

{table(idle_head, starts)}

{table(LOAD_HEAD, loads)}

{table(LARGE_HEAD, larges)}

{alone_sentence(alone)}"""


def idle_cells(mode: Mode) -> list[str]:
    idle = mode["idle"]
    return [
        f"{significant(idle['server_kb_without_sockets'] / 1e3)} MB",
        str(idle["sockets"]),
        time(idle["opened_in_us"]),
        f"{significant(idle['server_kb_per_socket'])} KB",
        f"{significant(idle['server_kb_per_socket_after_broadcast'])} KB",
        time(idle["broadcast_in_us"]),
    ]


def alone_sentence(alone: Alone) -> str:
    return paragraph(
        f"F(10^8) alone, computed and formatted without queue or socket, takes {time(alone['all_threads_s'] * 1e6)} "
        f"on {alone['threads']} threads and {time(alone['one_thread_s'] * 1e6)} on one."
    )


def services(measured: Services | None) -> str:
    title = "## The five services\n\n"
    if measured is None:
        return title + "Not measured: no Docker engine answered."
    one, many, alone = measured["one"], measured["many"], measured["alone"]
    one_ratios = [pair["services"]["p50_us"] / pair["plain"]["p50_us"] for pair in one]
    many_ratios = [pair["services"]["jobs_per_second"] / pair["plain"]["jobs_per_second"] for pair in many]
    binary_ratios = [
        pair["binary"]["jobs_per_second"] / pair["plain"]["jobs_per_second"] for pair in measured["binary_many"]
    ]
    middle_one, middle_many = one[middle(one_ratios)], many[middle(many_ratios)]
    loads = [
        *pair_rows("1 in flight", middle_one),
        *pair_rows("64 in flight, one socket", middle_many),
        load_row("64 in flight, 64 private sockets", measured["many_private"], None),
    ]
    larges = [
        large_row(label, large, seconds)
        for label, large, seconds in (
            ("all threads", measured["large"], alone["all_threads_s"]),
            ("all threads, with small jobs", measured["large_with_small_jobs"], alone["all_threads_s"]),
            ("one thread", measured["large_on_one_thread"], alone["one_thread_s"]),
            ("one thread, with small jobs", measured["large_on_one_thread_with_small_jobs"], alone["one_thread_s"]),
        )
    ]
    comparison = paragraph(
        f"The plain rows show what most people would write first (`bench/plain`): Flask under gunicorn, a Redis list, "
        f"and a calculator and a socket server in Python, behind the same nginx, with nothing on disk. With 1 in "
        f"flight, the median of the five services is {spread(one_ratios)} times that of the plain system; with 64 in "
        f"flight, they do {spread(many_ratios)} times as many jobs per second. These are the middle ratio and the "
        f"extremes of {len(one)} pairs of loads, made in turn. The rows are those of the middle pair. In further pairs, "
        f"with 64 in flight, the binary on disk does {spread(binary_ratios)} times as many as the plain system."
    )
    cpu = paragraph(
        f"CPU time per job: with 1 in flight {cpu_of(middle_one)}; with 64 in flight {cpu_of(middle_many)}. It "
        f"leaves out the driver, Docker and the kernel's own threads."
    )
    return f"""{title}Every acknowledged message is on disk (`SYNC_INTERVAL=always`). The limits of nginx are raised.

{table(LOAD_HEAD, loads)}

{comparison}

{cpu}

{table(LARGE_HEAD, larges)}

{alone_sentence(alone)}"""


def pair_rows(label: str, pair: PlainPair) -> list[list[str]]:
    cpu_us = sum(pair["services_cpu_us_per_job"].values())
    return [load_row(label, pair["services"], cpu_us), load_row(f"{label}, plain", pair["plain"], None)]


def cpu_of(pair: PlainPair) -> str:
    return ", ".join(f"{service} {us:.0f} µs" for service, us in sorted(pair["services_cpu_us_per_job"].items()))


def scaling(measured: Scaling | None) -> str:
    title = "## More of each\n\n"
    if measured is None:
        return title + "Not measured: no Docker engine answered."
    header = ["N = 90", "p50, 1 in flight", "jobs per second, 64 in flight", "p50", "p99", "CPU per job"]
    rows = [
        [
            scaled["label"],
            time(scaled["one"]["p50_us"]),
            f"{scaled['many']['jobs_per_second']:.0f}",
            time(scaled["many"]["p50_us"]),
            time(scaled["many"]["p99_us"]),
            ", ".join(f"{service} {us:.0f} µs" for service, us in sorted(scaled["cpu_us_per_job"].items())),
        ]
        for scaled in measured["scaled"]
    ]
    rounds = "one round" if measured["rounds"] == 1 else f"the middle of {measured['rounds']} rounds"
    introduction = paragraph(
        f"The five services, once with one of each and then with three of one of them; and a cluster (`make up-cluster`) "
        f"of three queue nodes and two of each other service, with one copy of each stream and with three. All of it runs "
        f"on this machine and this disk. Each row is {rounds}. With three "
        f"copies, the cluster does {spread(measured['three_copies_over_one'])} times as many jobs per second as with one."
    )
    return f"""{title}{introduction}

{table(header, rows)}"""


def arithmetic(measured: Arithmetic, machine: Machine) -> str:
    version = measured["versions"]
    introduction = paragraph(
        f"F(N) with all decimal digits, the best of several runs, on {describe(machine)}; "
        f"GMP {version['GMP']} through gmpy2 {version['gmpy2']}, "
        f"FLINT {version['FLINT']} through python-flint {version['python-flint']}, CPython {version['CPython']}."
    )
    header = [
        "N",
        "1 thread",
        "2 threads",
        "GMP",
        "FLINT",
        "CPython, the loop",
        "GMP / 1 thread",
        "1 thread / 2 threads",
    ]
    rows = [
        [
            f"{number['n']:_}".replace("_", " "),
            time(number["one_thread_s"] * 1e6),
            time(number["two_threads_s"] * 1e6),
            time(number["gmp_s"] * 1e6),
            time(number["flint_s"] * 1e6),
            NOTHING if number["cpython_s"] is None else time(number["cpython_s"] * 1e6),
            f"{number['gmp_s'] / number['one_thread_s']:.2f}",
            f"{number['one_thread_s'] / number['two_threads_s']:.2f}",
        ]
        for number in measured["numbers"]
    ]
    return f"""## The arithmetic

{introduction}

{table(header, rows)}

FLINT has a faster way, its `radix` module, which cannot be called from Python."""


def comparisons(measured: Sequence[Comparison]) -> str:
    return f"""## This tree and the other one

{compared(measured, "this tree", "the other", "this / the other")}"""


def traced(measured: Traced) -> str:
    return f"""## With and without traces

The receiver of the traces shares the machine with what is measured.

{compared(measured["comparisons"], f"{measured['share']:.2%} of all traces exported", "no traces exported", "traced / not")}"""


def scraped(measured: Sequence[Comparison]) -> str:
    return f"""## With and without metrics

The metrics are read every second.

{compared(measured, "with metrics", "without metrics", "with / without")}"""


def compared(measured: Sequence[Comparison], ours_head: str, theirs_head: str, ratio_head: str) -> str:
    rows = []
    for comparison in measured:
        ours, theirs = comparison["ours"], comparison["theirs"]
        ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
        pair = middle(ratios)
        cells = [significant(ours[pair]), significant(theirs[pair]), spread(ratios)]
        rows.append([f"{comparison['label']}: {comparison['figure']}", *cells])
    pairs = len(measured[0]["ours"])
    return f"""Measured in turn, in {pairs} pairs: the figures of the middle pair, and the middle ratio with the extremes.

{table(["", ours_head, theirs_head, ratio_head], rows)}"""


def load_row(label: str, load: Load, server_cpu_us: float | None) -> list[str]:
    times = [load["p50_us"], load["p90_us"], load["p99_us"], load["p99_9_us"], load["max_us"]]
    syncs = load["syncs_per_job"]
    return [
        label,
        f"{load['jobs_per_second']:.0f}",
        *(time(us) for us in times),
        NOTHING if server_cpu_us is None else time(server_cpu_us),
        time(load["driver_cpu_us_per_job"]),
        NOTHING if syncs is None else f"{syncs:.2f}",
    ]


def large_row(label: str, large: Large, alone_s: float) -> list[str]:
    small = large["small_jobs"]
    small_cells = (
        [str(small["count"]), time(small["p50_us"]), time(small["p99_us"]), time(small["max_us"])]
        if small
        else [NOTHING] * 4
    )
    return [
        label,
        time(large["best_us"]),
        time(large["best_computing_us"]),
        significant(large["best_us"] / 1e6 / alone_s),
        time(large["median_us"]),
        *small_cells,
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, whose first column is the label."""
    for row in rows:
        assert len(row) == len(header), f"a row {row} does not fit under {header}"
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def paragraph(text: str) -> str:
    return fill(text, width=108, break_long_words=False, break_on_hyphens=False)


def middle(ratios: Sequence[float]) -> int:
    """The index of the median. The number of ratios has to be odd."""
    return ratios.index(statistics.median_low(ratios))


def spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median_low(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def time(us: float) -> str:
    """A time with three digits and the unit that suits it."""
    for unit, factor in (("s", 1e-6), ("ms", 1e-3), ("µs", 1.0)):
        if us * factor >= 1:
            return f"{significant(us * factor)} {unit}"
    return f"{us * 1e3:.0f} ns"


def significant(value: float) -> str:
    """A number with three digits, or with all of those before the point."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


if __name__ == "__main__":
    print(render(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
