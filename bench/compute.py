"""Times F(N) with all its decimal digits in fibwire, GMP, FLINT and CPython, in one run.

    pip install -r bench/compute-requirements.txt
    cargo build --release -p fibonacci --example seconds
    python -m bench.compute target/release/examples/seconds > arithmetic.json

Each measurement is a process of its own and prints the best of several runs. fibwire is timed by the
`seconds` example of its crate, inside the process like the others; its time includes computing,
checking and formatting all digits. FLINT's Python binding does not offer FLINT's `radix` module,
which multiplies in decimal, so FLINT works here as GMP does: in binary, converted at the end.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.figures import Arithmetic, Number

NUMBERS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 10**6, 10**7, 10**8)

ROOT = Path(__file__).resolve().parents[1]

# Beyond this n, one run of CPython's loop takes minutes.
LARGEST_OF_CPYTHON = 100_000

# How long the runs of one measurement may take together.
SECONDS = 3.0


def work(library: str, n: int) -> Callable[[], str]:
    """The work of one run: F(n) as a string of digits."""
    if library == "gmp":
        import gmpy2

        return lambda: str(gmpy2.fib(n))
    if library == "flint":
        import flint

        return lambda: str(flint.fmpz.fib_ui(flint.fmpz(n)))

    def loop() -> str:
        a, b = 0, 1
        for _ in range(n):
            a, b = b, a + b
        return str(a)

    return loop


def best_of_runs(library: str, n: int, seconds: float) -> float:
    """The time of the fastest run; called in a process of its own."""
    sys.set_int_max_str_digits(0)
    run = work(library, n)
    best, until = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        run()
        end = time.perf_counter()
        best = min(best, end - start)
        if end >= until:
            return best


def _printed(command: Sequence[str | Path]) -> list[float]:
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    return [float(word) for word in output.split()]


def theirs(library: str, n: int, seconds: float) -> float:
    """The seconds that F(n) takes in another library."""
    arguments = ["--library", library, "--n", str(n), "--seconds", str(seconds)]
    (best,) = _printed([sys.executable, "-m", "bench.compute", *arguments])
    return best


def ours(example: Path, n: int, threads: int, runs: int) -> float:
    """The seconds that F(n) takes in fibwire: the best of so many runs."""
    # The example prints the time of computing and that of formatting.
    return sum(_printed([example.resolve(), str(n), str(threads), str(runs)]))


def arithmetic(example: Path, numbers: Sequence[int] = NUMBERS, seconds: float = SECONDS) -> Arithmetic:
    """The times of all numbers in all libraries. `example` is the crate's example `seconds`."""

    def best(n: int, threads: int) -> float:
        runs = int(seconds / ours(example, n, threads, runs=1))
        return ours(example, n, threads, max(3, min(10_000, runs)))

    return {
        "versions": versions(),
        "numbers": [
            Number(
                n=n,
                one_thread_s=best(n, 1),
                two_threads_s=best(n, 2),
                gmp_s=theirs("gmp", n, seconds),
                flint_s=theirs("flint", n, seconds),
                cpython_s=theirs("cpython", n, seconds) if n <= LARGEST_OF_CPYTHON else None,
            )
            for n in numbers
        ],
    }


def versions() -> dict[str, str]:
    import flint
    import gmpy2

    return {
        "GMP": gmpy2.mp_version().removeprefix("GMP "),
        "gmpy2": gmpy2.version(),
        "FLINT": flint.__FLINT_VERSION__,
        "python-flint": flint.__version__,
        "CPython": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("example", type=Path, nargs="?", help="the crate's example `seconds`, built")
    parser.add_argument("--n", type=int, action="append", help="an N, instead of the usual ones; may be repeated")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long to repeat each measurement")
    parser.add_argument("--library", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.library:
        print(best_of_runs(args.library, args.n[0], args.seconds))
    elif args.example:
        print(json.dumps(arithmetic(args.example, args.n or NUMBERS, args.seconds), indent=2))
    else:
        parser.error("the path of the example is missing")


if __name__ == "__main__":
    main()
