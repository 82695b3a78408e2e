"""Exact money: integer pico-dollars (1 USD = 10**12). No float ever holds an amount.

Why pico: prices are given in USD per million tokens. With at most 6 decimals, one token costs a whole number of
pico-dollars, so tokens times price is a product of integers and never rounds. Prices with more decimals are refused.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

PICO_PER_USD = 10**12
TOKENS_PER_PRICE = 10**6
#: What a 64-bit counter of Redis can add up in pico-dollars, with room to overspend: about 9.2 million USD.
MAX_USD = 9_000_000


def decimal_of(value: object) -> Decimal:
    """Read a decimal from JSON's string, integer or ``Decimal``; raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("must be a decimal number, written as a string or an integer")  # noqa: TRY004
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a decimal number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def pico_of_usd(value: object) -> int:
    """USD -> pico-dollars. Raises ValueError when negative, too large or finer than a pico-dollar."""
    return _whole(decimal_of(value), PICO_PER_USD, "USD have at most 12 decimals")


def pico_per_token(value: object) -> int:
    """USD per million tokens -> pico-dollars per token. Raises ValueError when finer than 6 decimals."""
    return _whole(decimal_of(value), PICO_PER_USD // TOKENS_PER_PRICE, "prices have at most 6 decimals")


def usd(pico: int, places: int = 2) -> str:
    """Pico-dollars as a decimal string, rounded half up to ``places`` decimals for people to read."""
    unit = 10 ** (12 - places)
    whole, sign = (abs(pico) + unit // 2) // unit, "-" if pico < 0 else ""
    text = f"{whole:0{places + 1}d}"
    return f"{sign}{text[:-places]}.{text[-places:]}" if places else f"{sign}{text}"


def usd_exact(pico: int) -> str:
    """Pico-dollars as a decimal string with every digit."""
    text = usd(pico, 12)
    head, _, tail = text.partition(".")
    return f"{head}.{tail.rstrip('0').ljust(2, '0')}"


def _whole(number: Decimal, factor: int, too_fine: str) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    if number > MAX_USD:
        raise ValueError(f"{number} is more than {MAX_USD}, the most this ledger can count")
    scaled = number * factor
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{number} is too fine: {too_fine}")
    return int(scaled)
