"""F(n), computed here with Python's integers and never taken from the product."""

import sys
from decimal import Decimal, localcontext

# These two Mersenne primes differ from the moduli that the product uses for its own check.
MODULI = (2**89 - 1, 2**107 - 1)

_CHUNK = 18


def fibonacci(n: int) -> str:
    """All decimal digits of F(n). This is quick for n up to a few hundred thousand."""
    sys.set_int_max_str_digits(0)
    return str(_pair(n, None)[0])


def residue(n: int, modulus: int) -> int:
    """F(n) modulo `modulus`, by fast doubling, for any n."""
    return _pair(n, modulus)[0]


def residue_of(digits: str, modulus: int) -> int:
    """A string of decimal digits modulo `modulus`, computed without one big integer."""
    head = len(digits) % _CHUNK
    value = int(digits[:head] or "0")
    for start in range(head, len(digits), _CHUNK):
        value = (value * 10**_CHUNK + int(digits[start : start + _CHUNK])) % modulus
    return value % modulus


def length_and_first(n: int, count: int = 20) -> tuple[int, str]:
    """The number of digits and the first `count` digits of F(n) for large n, by Binet's formula.

    F(n) differs from phi^n / sqrt(5) by less than one half. With a working precision of 60 digits, more
    than 30 are right for n up to 10^9.
    """
    with localcontext() as context:
        context.prec = 60
        root = Decimal(5).sqrt()
        exponent = n * ((1 + root) / 2).log10() - root.log10()
        whole = int(exponent)
        first = Decimal(10) ** (exponent - whole + count - 1)
        return whole + 1, str(int(first))


def last(n: int, count: int = 20) -> str:
    """The last `count` digits of F(n). F(n) must have at least that many."""
    return str(residue(n, 10**count)).zfill(count)


def _pair(n: int, modulus: int | None) -> tuple[int, int]:
    """F(n) and F(n + 1)."""
    a, b = 0, 1
    for bit in bin(n)[2:]:
        a, b = a * (2 * b - a), a * a + b * b
        if bit == "1":
            a, b = b, a + b
        if modulus is not None:
            a, b = a % modulus, b % modulus
    return a, b
