"""Who gets how large a lease. Pure: integers in, tokens out.

A lease is usable tokens in a balance; it is worth tokens x the worst price of a token that its holder may use. The one
rule that safety rests on is in ``grants``: nothing is granted that any pool above does not have free. All the rest is
about who gets it: a holder whose pools could pay all members' budgets at once gets its own remainder in full; a
contended pool is shared by need (what was debited lately), with a floor for everybody, so that nobody who could pay
for a request waits for a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Pools up to this many members are shared out among all of them in every run that touches one.
SMALL_POOL = 100
#: Far below 2**53, the largest integer that Redis's Lua and the gateway handle exactly.
MAX_TOKENS = 10**12


@dataclass(slots=True)
class Pool:
    """A shared budget in pico-dollars: ``free`` is neither spent nor reserved; ``idle`` is reserved by members that
    are not among this run's wants; ``contended`` says that its members' own budgets add up to more than it has.
    """

    free: int
    members: int
    idle: int = 0
    contended: bool = True


@dataclass(slots=True)
class Want:
    """A consumer that this run looks at. ``own`` is what its own budget leaves for a lease, None without one;
    ``waiting`` are tokens that are reserved and not in its balance: held, or debited and not counted yet.
    """

    consumer: str
    balance: int
    worst: int
    own: int | None
    waiting: int
    need: int
    pools: tuple[str, ...]
    allowed: bool = True

    @property
    def usable(self) -> int:
        """Tokens that the gateway would let through now."""
        return max(0, self.balance)


@dataclass(slots=True)
class _Share:
    """One pool, summed over this run's wants, and what it gives: a floor for each, the rest by need or equally."""

    held: int = 0
    count: int = 0
    weights: int = 0
    left: int = 0
    floor: int = 0
    rest: int = 0
    equal: int = 0


def targets(wants: Sequence[Want], pools: Mapping[str, Pool], worst_request: int) -> list[int]:
    """The lease each want should have, in tokens. Their sum may be more than is free: ``grants`` sees to that."""
    shares = {name: share for name, share in _shares(wants).items() if pools[name].contended and share.count}
    for name, share in shares.items():
        _share_out(share, pools[name])
    return [_target(want, shares, worst_request) for want in wants]


def takes(wants: Sequence[Want], goals: Sequence[int], pools: Mapping[str, Pool]) -> list[int]:
    """Tokens to take back from each want (0 or more). A small surplus stays where its budgets can pay for it."""
    return [
        want.usable - goal
        if want.usable > goal and (want.usable - goal > want.usable // 8 or _overdrawn(want, pools))
        else 0
        for want, goal in zip(wants, goals, strict=True)
    ]


def grants(wants: Sequence[Want], goals: Sequence[int], pools: Mapping[str, Pool]) -> list[int]:
    """Usable tokens to add to each want, never more than every pool above has free; reduces ``free`` accordingly."""
    result = [0] * len(wants)
    order = sorted(range(len(wants)), key=lambda i: (-wants[i].need, wants[i].consumer))
    for index in order:
        want = wants[index]
        tokens = goals[index] - want.usable
        if tokens <= 0:
            continue
        for name in want.pools:
            tokens = min(tokens, pools[name].free // want.worst)
        if tokens <= 0:
            continue
        for name in want.pools:
            pools[name].free -= tokens * want.worst
        result[index] = tokens
    return result


def sweeps(wants: Sequence[Want], pools: Mapping[str, Pool]) -> set[str]:
    """Pools whose idle members hold so much that theirs must be shared out again.

    After a sweep they hold at most half, so between two sweeps a third of the pool is used up: sweeps are rare, and
    the work of a run stays in proportion to the active consumers.
    """
    found = set()
    for name, share in _shares(wants).items():
        pool = pools[name]
        if pool.contended and share.count < pool.members:
            left = max(0, pool.free + pool.idle + share.held)
            if pool.members <= SMALL_POOL or 4 * pool.idle > 3 * left:
                found.add(name)
    return found


def _shares(wants: Sequence[Want]) -> dict[str, _Share]:
    found: dict[str, _Share] = {}
    for want in wants:
        for name in want.pools:
            share = found.get(name)
            if share is None:
                share = found[name] = _Share()
            share.held += want.usable * want.worst
            if want.allowed:
                share.count += 1
                share.weights += want.need * want.worst
    return found


def _share_out(share: _Share, pool: Pool) -> None:
    pot = max(0, pool.free + share.held)
    everyone = share.count >= pool.members
    share.left = pot + pool.idle
    share.floor = min(share.left // (2 * max(1, pool.members)), pot // (2 * share.count))
    # Part of the pot waits for members who become active before the next run.
    share.rest = max(0, pot - share.floor * share.count - (0 if everyone else pot // 4))
    if everyone and not share.weights and share.count <= SMALL_POOL:
        share.equal = share.rest // share.count


def _target(want: Want, shares: Mapping[str, _Share], worst_request: int) -> int:
    if not want.allowed or want.worst <= 0:
        return 0
    amount = MAX_TOKENS * want.worst if want.own is None else want.own
    affordable = amount >= want.worst
    for name in want.pools:
        share = shares.get(name)
        if share is not None:
            by_need = share.rest * want.need * want.worst // share.weights if share.weights else share.equal
            amount = min(amount, share.floor + by_need)
            affordable = affordable and share.left >= worst_request * want.worst
    tokens = min(MAX_TOKENS, max(0, amount) // want.worst)
    # Whoever could pay for a whole request is let in: the gateway asks only for more than zero.
    return tokens or int(affordable)


def _overdrawn(want: Want, pools: Mapping[str, Pool]) -> bool:
    return (want.own is not None and want.usable * want.worst > want.own) or any(
        pools[name].free < 0 for name in want.pools
    )
