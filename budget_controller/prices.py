"""What a token costs: pico-dollars per token, by model, time and length of the input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: The counters of one model, in the order every list of token numbers in this package has.
KINDS = ("input", "cache_read", "cache_write", "output", "estimated_input", "estimated_output")
INPUT_KINDS = (0, 1, 2, 4)

Rates = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates of a request whose whole input is above ``above`` tokens; the first tier has 0."""

    above: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Price:
    """One model's price between two times; ``pattern`` says whether ``model`` is a glob with ``*``."""

    model: str
    tiers: tuple[Tier, ...]
    valid_from: int | None = None
    valid_until: int | None = None
    pattern: bool = False

    def holds(self, since: int, until: int) -> bool:
        """Whether this price is in force at some moment of [since, until]."""
        return (self.valid_from is None or self.valid_from <= until) and (
            self.valid_until is None or since < self.valid_until
        )

    @property
    def worst(self) -> int:
        """The most that any one token can cost under this price."""
        return max(max(tier.rates) for tier in self.tiers)


def rates(input_: int, output: int, cache_read: int, cache_write: int) -> Rates:
    """Rates in the order of KINDS; estimated tokens cost what reported ones cost."""
    return (input_, cache_read, cache_write, output, input_, output)


@dataclass(slots=True)
class PriceBook:
    """Finds prices: an exact name before a pattern, the longest pattern first, the latest start first."""

    prices: tuple[Price, ...]
    _by_name: dict[str, list[Price]] = field(default_factory=dict, init=False)
    _patterns: list[tuple[re.Pattern[str], Price]] = field(default_factory=list, init=False)
    _found: dict[tuple[str, int, int], tuple[Price, ...]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Index the prices once."""
        latest = sorted(self.prices, key=lambda price: -(price.valid_from or 0))
        for price in latest:
            if not price.pattern:
                self._by_name.setdefault(price.model, []).append(price)
        globs = sorted((p for p in latest if p.pattern), key=lambda price: -len(price.model))
        self._patterns = [(re.compile(glob_regex(price.model)), price) for price in globs]

    def find(self, model: str, at: int) -> Price | None:
        """The price of ``model`` at ``at``, or None when it has none."""
        found = self._between(model, at, at)
        return found[0] if found else None

    def worst(self, models: Iterable[str], since: int, until: int) -> int | None:
        """The most a token of any of these models can cost in [since, until]; None when none has a price."""
        return max((p.worst for model in models for p in self._between(model, since, until)), default=None)

    def _between(self, model: str, since: int, until: int) -> tuple[Price, ...]:
        known = self._found.get((model, since, until))
        if known is None:
            named = [p for p in self._by_name.get(model, ()) if p.holds(since, until)]
            # A lease may outlive a change of price: where the name has none for part of the time, patterns count too.
            if not named or since != until:
                named += [p for regex, p in self._patterns if regex.fullmatch(model) and p.holds(since, until)]
            known = self._found[(model, since, until)] = tuple(named)
        return known


def glob_regex(glob: str) -> str:
    """A glob in which only ``*`` is special, as a regular expression."""
    return ".*".join(re.escape(part) for part in glob.split("*"))


def cost(price: Price, tokens: Sequence[int]) -> int:
    """Pico-dollars for token counts in the order of KINDS.

    A tier depends on one request's input, a counter holds the sum of several. So a sum that no single request can have
    been above the limit is charged at the lower tier, every other at the highest tier it can have reached: exact for
    one request between two scrapes, and never less than the truth for more.
    """
    tiers = price.tiers
    tier = tiers[0]
    if len(tiers) > 1:
        length = sum(tokens[i] for i in INPUT_KINDS)
        reached = [t for t in tiers if length > t.above or t.above == 0]
        rows = [t.rates for t in reached]
        return sum(count * max(row[i] for row in rows) for i, count in enumerate(tokens)) if rows else 0
    row = tier.rates
    return (
        tokens[0] * row[0]
        + tokens[1] * row[1]
        + tokens[2] * row[2]
        + tokens[3] * row[3]
        + tokens[4] * row[4]
        + tokens[5] * row[5]
    )
