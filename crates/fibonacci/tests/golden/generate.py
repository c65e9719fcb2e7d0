"""Write the golden file with two independent libraries, and fail if they disagree.

GMP (through gmpy2) has a Fibonacci function. CPython has none, so here the definition gives F(N) up
to N = 100 000, and doubling gives it from there on. Each library converts to decimal with its own
code. For large N, CPython uses its decimal module (libmpdec), because converting its integers takes
quadratic time. Run it with `python generate.py > fibonacci.tsv`. It takes some seconds.
"""

import decimal
import hashlib
import sys

import gmpy2

SHORT = 1000
SUMMED = 100_000
NUMBERS = [
    *range(201),
    *(300, 500, 999, 1000, 1001, 2000, 3000, 4096, 5000, 7777, 9999, 10_000),
    *(12_345, 16_384, 20_001, 33_333, 50_000, 65_536, 99_999, 100_000, 123_456, 250_001),
    *(500_000, 777_777, 999_999, 1_000_000, 1_048_576, 2_000_001, 3_141_592, 5_000_000),
    *(8_388_607, 10_000_000),
]

ARITHMETIC = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, traps=[decimal.Inexact])


def python_pair(n: int) -> tuple[int, int]:
    """F(n) and F(n + 1) in CPython's integers."""
    if n <= SUMMED:
        a, b = 0, 1
        for _ in range(n):
            a, b = b, a + b
        return a, b
    a, b = python_pair(n // 2)
    even, odd = a * (2 * b - a), a * a + b * b
    return (odd, even + odd) if n % 2 else (even, odd)


def decimal_pair(n: int) -> tuple[decimal.Decimal, decimal.Decimal]:
    """F(n) and F(n + 1) in libmpdec's integers, which multiply large numbers fast."""
    if n <= SUMMED:
        integers = python_pair(n)
        return decimal.Decimal(integers[0]), decimal.Decimal(integers[1])
    a, b = decimal_pair(n // 2)
    mul, add, sub = ARITHMETIC.multiply, ARITHMETIC.add, ARITHMETIC.subtract
    even, odd = mul(a, sub(add(b, b), a)), add(mul(a, a), mul(b, b))
    return (odd, add(even, odd)) if n % 2 else (even, odd)


def python_digits(n: int) -> str:
    """The digits of F(n) without GMP."""
    if n <= SUMMED:
        return str(python_pair(n)[0])
    return f"{decimal_pair(n)[0]:f}"


def main() -> None:
    sys.set_int_max_str_digits(0)
    decimal.setcontext(ARITHMETIC)
    print("# tab-separated: N, digits of F(N), their SHA-256 in hexadecimal, F(N) or - when longer")
    for n in NUMBERS:
        digits = str(gmpy2.fib(n))
        if digits != python_digits(n):
            sys.exit(f"the two libraries disagree on F({n})")
        digest = hashlib.sha256(digits.encode()).hexdigest()
        print(n, len(digits), digest, digits if len(digits) <= SHORT else "-", sep="\t")


if __name__ == "__main__":
    main()
