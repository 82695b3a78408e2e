"""One consumer's page of the ledger, and how what was seen since last time is booked on it. Pure: no clock, no I/O.

Words. *Balance*: the tokens in ``chat_quota:<consumer>``, moved by the gateway. *Expected*: what the balance was when
the controller last left it. *Debit*: expected minus what is there now, minus what is only held. *Pending*: debited,
and not yet in the counters. *Surplus*: in the counters, and not (yet) debited. *Reserved*: what could still be or
become spend, in tokens valued at the worst price: balance + holds + pending. *Booked*: spend, in pico-dollars.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from . import periods, prices

#: How long a counted token may wait for its debit before it is taken for one that was never debited.
DEBIT_GRACE = 120
#: How long an unattributed debit can still be explained by counters that come late.
REVERSIBLE = 31 * 86_400
UNATTRIBUTED = "(unattributed)"

#: model, time -> its price, or None when it has none
Finder = Callable[[str, int], "prices.Price | None"]


class Path(NamedTuple):
    """Where a consumer's spend is booked besides its own page."""

    org: str
    project: str
    group: str

    def scopes(self) -> tuple[str, str, str]:
        """Ids of the levels above, inner first."""
        return (f"group:{self.project}/{self.group}", f"project:{self.project}", f"org:{self.org}")


@dataclass(slots=True)
class Page:
    """All that is known of one consumer.

    ``seen`` maps ``<process>|<model>`` to the counters' last values in the order of KINDS. ``pending`` and ``surplus``
    are lots [time, tokens]; ``unattributed`` lots are [time, tokens, price]. ``booked`` maps period keys to pico-dollars,
    ``models`` month -> model -> pico-dollars.
    """  # noqa: E501

    path: Path
    worst: int = 0
    at: int = 0
    seen: dict[str, list[int]] = field(default_factory=dict)
    pending: list[list[int]] = field(default_factory=list)
    surplus: list[list[int]] = field(default_factory=list)
    unattributed: list[list[int]] = field(default_factory=list)
    booked: dict[str, int] = field(default_factory=dict)
    models: dict[str, dict[str, int]] = field(default_factory=dict)
    need: int = 0
    held: int = 0

    def reserved(self, balance: int) -> int:
        """Tokens that may still turn into spend, given the balance."""
        return max(0, balance) + self.held + sum(lot[1] for lot in self.pending)

    @property
    def open(self) -> bool:
        """Whether time alone may change this page: it must be looked at again even when nothing moved."""
        return bool(self.pending or self.surplus or self.held)

    def dump(self) -> str:
        """The page as it is stored."""
        path = self.path
        return _encode(
            [
                1,
                [path.org, path.project, path.group],
                self.worst,
                self.at,
                self.seen,
                self.pending,
                self.surplus,
                self.unattributed,
                self.booked,
                self.models,
                self.need,
                self.held,
            ]
        )

    @classmethod
    def load(cls, text: str) -> Page:
        """A stored page; raises ValueError when it is none."""
        version, path, *rest = json.loads(text)
        if version != 1:
            raise ValueError(f"a page of version {version}")
        return cls(Path(*path), *rest)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


class Entry(NamedTuple):
    """Spend booked for a model at a time; negative when an unattributed debit was explained after all."""

    at: int
    model: str
    amount: int


@dataclass(slots=True)
class Booking:
    """What one look at a consumer found."""

    entries: list[Entry] = field(default_factory=list)
    debited: int = 0
    counted: int = 0
    undebited: int = 0
    credited: int = 0
    unpriced: dict[str, int] = field(default_factory=dict)


#: Series key (``<process>|<model>``) -> counters now, in the order of KINDS; -1 where nothing changed
Usage = Mapping[str, list[int]]


def count(page: Page, usage: Usage, at: int, find: Finder, unknown_rate: int, zone: str, booking: Booking) -> None:  # noqa: PLR0913, PLR0917
    """Book what the counters gained up to ``at``; a page that is already past ``at`` is left alone.

    ``unknown_rate`` is what a token of a model without a price costs: the project's worst.
    """
    if at <= page.at:
        return
    page.at = at
    tokens = 0
    amounts: dict[str, int] = {}
    for key, values in usage.items():
        gained = _gains(page.seen, key, values)
        if not any(gained):
            continue
        model = key[key.index("|") + 1 :]
        price = find(model, at)
        if price is None:
            booking.unpriced[model] = booking.unpriced.get(model, 0) + sum(gained)
            amount = sum(gained) * unknown_rate
        else:
            amount = prices.cost(price, gained)
        tokens += gained[0] + gained[1] + gained[2] + gained[3]
        amounts[model] = amounts.get(model, 0) + amount
    if amounts:
        _book(page, at, amounts, zone, booking)
    if tokens:
        booking.counted += tokens
        _cover(page, tokens, at, zone, booking)


def debit(page: Page, expected: int | None, balance: int | None, held: int, at: int, booking: Booking) -> None:  # noqa: PLR0913, PLR0917
    """Take in what the gateway moved since the controller last left the balance at ``expected``.

    A missing balance says nothing about spend: what it leased is gone, and the counters tell what was used. A balance
    above the expectation is not ours: it is reported and not backed by money until the allocation sets it right.
    """
    if expected is not None and balance is not None:
        moved = expected + page.held - balance - held
        if moved > 0:
            booking.debited += moved
            rest = _consume(page.surplus, moved)
            if rest:
                page.pending.append([at, rest])
        elif moved < 0:
            booking.credited -= moved
    page.held = held
    page.need = max(booking.debited, page.need // 2)


def settle(page: Page, at: int, unattributed_after: int, zone: str, booking: Booking) -> None:
    """Let time pass: old pending debits are booked at the worst price, old surplus is known to be undebited."""
    due = at - unattributed_after
    while page.pending and page.pending[0][0] <= due:
        since, tokens = page.pending.pop(0)
        _keep(page.unattributed, [since, tokens, page.worst], zone)
        _book(page, since, {UNATTRIBUTED: tokens * page.worst}, zone, booking)
    while page.surplus and page.surplus[0][0] <= at - DEBIT_GRACE:
        booking.undebited += page.surplus.pop(0)[1]
    while page.unattributed and page.unattributed[0][0] < at - REVERSIBLE:
        page.unattributed.pop(0)
    _forget(page, at, zone)


def reprice(page: Page, worst: int) -> None:
    """Value what is reserved at another worst price from now on."""
    page.worst = worst


def spent(page: Page, at: int, period: str, zone: str) -> int:
    """Pico-dollars booked in the period that holds ``at``."""
    return page.booked.get(periods.key(at, period, zone), 0)


def _gains(seen: dict[str, list[int]], key: str, values: list[int]) -> list[int]:
    """What each counter of one series gained, and the new last values. One that went down restarted from zero."""
    before = seen.get(key)
    if before is None:
        seen[key] = gained = [value if value > 0 else 0 for value in values]
        return gained
    # What did not change is -1 here: below every last value, and no gain.
    gained = [now - last if now >= last else now if now > 0 else 0 for now, last in zip(values, before, strict=True)]
    seen[key] = [now if now >= 0 else last for now, last in zip(values, before, strict=True)]
    return gained


def _book(page: Page, at: int, amounts: Mapping[str, int], zone: str, booking: Booking) -> None:
    """Book pico-dollars by model as spent at a time."""
    month, week, day = periods.keys(at, zone)
    booked, total = page.booked, sum(amounts.values())
    for key in (month, week, day):
        booked[key] = booked.get(key, 0) + total
    models = page.models.setdefault(month, {})
    for model, amount in amounts.items():
        models[model] = models.get(model, 0) + amount
        booking.entries.append(Entry(at, model, amount))


def _cover(page: Page, tokens: int, at: int, zone: str, booking: Booking) -> None:
    """Counted tokens explain pending debits, then unattributed ones (which are un-booked), then wait for a debit."""
    rest = _consume(page.pending, tokens)
    while rest and page.unattributed:
        since, lot, price = page.unattributed[-1]
        taken = min(rest, lot)
        rest -= taken
        _book(page, since, {UNATTRIBUTED: -taken * price}, zone, booking)
        if taken == lot:
            page.unattributed.pop()
        else:
            page.unattributed[-1] = [since, lot - taken, price]
    if rest:
        page.surplus.append([at, rest])


def _keep(lots: list[list[int]], lot: list[int], zone: str) -> None:
    """Add an unattributed lot; those of one day and price are one, so that a page stays small."""
    last = lots[-1] if lots else None
    if last and last[2] == lot[2] and periods.keys(last[0], zone) == periods.keys(lot[0], zone):
        last[1] += lot[1]
    else:
        lots.append(lot)


def _consume(lots: list[list[int]], tokens: int) -> int:
    """Take tokens out of the lots, oldest first; returns what the lots could not give."""
    while tokens and lots:
        taken = min(tokens, lots[0][1])
        tokens -= taken
        if taken == lots[0][1]:
            lots.pop(0)
        else:
            lots[0] = [lots[0][0], lots[0][1] - taken]
    return tokens


def _forget(page: Page, at: int, zone: str) -> None:
    """Keep this and the last month, so that a page stays small."""
    month = periods.key(at, "month", zone)
    if len(page.models) > 2 or any(key[:7] < month for key in page.booked if "W" not in key):
        last = periods.key(periods.start(at, "month", zone) - 1, "month", zone)
        page.models = {key: value for key, value in page.models.items() if key >= last}
        weeks = {periods.key(at - back * 7 * 86_400, "week", zone) for back in (-1, 0, 1, 2, 3, 4, 5)}
        page.booked = {key: amount for key, amount in page.booked.items() if key in weeks or key[:7] >= last}
