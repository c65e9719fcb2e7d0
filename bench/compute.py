"""Time F(N) with all its decimal digits: ours, GMP, FLINT and CPython, in one run.

    pip install -r bench/compute-requirements.txt
    cargo build --release -p fibonacci --example seconds
    python bench/compute.py target/release/examples/seconds > table.md

Every measurement is a process of its own, the best of several runs in it. Ours is timed by the
crate's `seconds` example, inside the process as the others are; its time is that of computing,
checking and formatting all digits. FLINT's binding for Python has no access to FLINT's `radix`
module, which multiplies in decimal, so its numbers here are those of GMP's kind of way: binary,
then converted.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

NUMBERS = [100, 300, 1000, 3000, 10_000, 30_000, 100_000, 10**6, 10**7, 10**8]

# Beyond it one run takes minutes.
LARGEST = {"CPython, the loop": 100_000}

# How long the runs of one measurement may take together.
SECONDS = 3.0


def work(way: str, n: int) -> Callable[[], str]:
    """The work of one run: F(n) as a string of digits."""
    if way == "GMP":
        import gmpy2

        return lambda: str(gmpy2.fib(n))
    if way == "FLINT":
        import flint

        return lambda: str(flint.fmpz.fib_ui(flint.fmpz(n)))

    def loop() -> str:
        a, b = 0, 1
        for _ in range(n):
            a, b = b, a + b
        return str(a)

    return loop


def measure(way: str, n: int) -> float:
    """The least time of a run; called in a process of its own."""
    sys.set_int_max_str_digits(0)
    run = work(way, n)
    best, until = float("inf"), time.perf_counter() + SECONDS
    while True:
        start = time.perf_counter()
        run()
        end = time.perf_counter()
        best = min(best, end - start)
        if end >= until:
            return best


def in_a_process(command: list[str]) -> list[float]:
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(word) for word in output.split()]


def ours(binary: Path, n: int, threads: int) -> float:
    first = sum(in_a_process([str(binary), str(n), str(threads)]))
    runs = max(3, min(10_000, int(SECONDS / first)))
    return sum(in_a_process([str(binary), str(n), str(threads), str(runs)]))


def machine() -> str:
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {platform.system()} {platform.release()}"


def versions() -> str:
    import flint
    import gmpy2

    return (
        f"{gmpy2.mp_version()} through gmpy2 {gmpy2.version()}, "
        f"FLINT {flint.__FLINT_VERSION__} through python-flint {flint.__version__}, "
        f"CPython {platform.python_version()}"
    )


def seconds(value: float | None) -> str:
    if value is None:
        return "—"
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("binary", type=Path, help="the crate's `seconds` example")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, action="append", help="an N, in place of the usual ones")
    args = parser.parse_args()
    if args.way:
        print(measure(args.way, args.n[0]))
        return

    ways = ["GMP", "FLINT", "CPython, the loop"]
    print(f"F(N) with all decimal digits, the best of several runs, on {machine()}; {versions()}.\n")
    header = ["N", "1 thread", "2 threads", *ways, "GMP / 1 thread", "1 thread / 2 threads"]
    print("|", " | ".join(header), "|")
    print("|", " | ".join(["---:"] * len(header)), "|")
    for n in args.n or NUMBERS:
        one, two = ours(args.binary, n, 1), ours(args.binary, n, 2)
        others = [
            in_a_process([sys.executable, __file__, str(args.binary), "--way", way, "--n", str(n)])[0]
            if n <= LARGEST.get(way, n)
            else None
            for way in ways
        ]
        assert others[0] is not None
        cells = [seconds(value) for value in (one, two, *others)]
        print(
            "|",
            " | ".join([f"{n:_}".replace("_", " "), *cells, f"{others[0] / one:.2f}", f"{one / two:.2f}"]),
            "|",
            flush=True,
        )
    print("\nFLINT's faster way, its `radix` module, cannot be called from Python.")


if __name__ == "__main__":
    main()
