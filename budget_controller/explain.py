"""Why a consumer is let in or refused, in sentences: which budget binds, how much is used, when it resets."""

from __future__ import annotations

from . import ledger, periods, standing
from .config import Budget, Config, Group
from .errors import ControllerError
from .ledger import Page
from .money import usd
from .run import reserved_value
from .store import Row, Store


def explain(config: Config, store: Store, consumer: str, now: int) -> str:
    """The explanation; raises ControllerError for a name that the configuration does not have."""
    project, _, user = consumer.partition(".")
    group = next((g for g in config.groups if g.project == project and user in g.users), None)
    if group is None:
        raise ControllerError(
            f"{consumer!r} is not a consumer: names are PROJECT.USER, and no group of a Project has it"
        )
    row = store.rows([consumer])[0]
    page = Page.load(row.page) if row.page is not None else Page(ledger.Path("", "", ""))
    found = standing.standings(config, now)[group.id]
    lines = [f"{consumer} (group {group.id}, {found.path.org}), as of {periods.stamp(now, config.zone)}"]
    budgets = _budgets(store, group, user, page, now)
    lines.append(_verdict(group, user, found, row, budgets))
    for text, _, _ in budgets:
        lines.append(f"  {text}")
    if page.reserved(0):
        lines.append(
            f"  {page.reserved(0)} tokens are used or held and not in the counters yet, kept at the worst price"
        )
    return "\n".join(lines) + "\n"


def _verdict(group: Group, user: str, found: standing.Standing, row: Row, budgets: list[tuple[str, int, str]]) -> str:
    if group.is_blocked(user):
        return "REFUSED: a kill switch (blocked: true) holds here; only editing the Project spec lifts it"
    if not found.priced:
        return "REFUSED: none of the group's models has a price, so nothing can be leased; add them to the prices"
    if not budgets:
        return "REFUSED: there is no budget at any level, and without one nothing may be spent; add one to the spec"
    name, left, resets = min(
        ((text.partition(":")[0], left, resets) for text, left, resets in budgets), key=lambda b: b[1]
    )
    balance = row.balance or 0
    if balance > 0:
        return f"ALLOWED: {balance} tokens are leased now; {name} binds with {usd(max(0, left), 4)} USD left until {resets}"  # noqa: E501
    if left < found.worst:
        return f"REFUSED (403 by ai-quota): {name} is used up; it resets at {resets}, or raise it"
    return f"REFUSED (403 by ai-quota) until the next run: the lease is used up, {name} still has {usd(left, 4)} USD"


def _budgets(store: Store, group: Group, user: str, page: Page, now: int) -> list[tuple[str, int, str]]:
    """(sentence, pico-dollars left, when it resets), tightest first."""
    found: list[tuple[str, int, str]] = []
    own = group.budget_of(user)
    if own:
        spent = ledger.spent(page, now, own.period, own.zone)
        waiting = page.reserved(0) * page.worst
        found.append(_sentence(f"the budget of {user}", own, spent, waiting, now))
    pools = store.pools(scope.id for scope in group.scopes if scope.budget)
    for scope in group.scopes:
        if scope.budget:
            sums = pools[scope.id]
            spent = sums.get(f"s:{periods.key(now, scope.budget.period, scope.budget.zone)}", 0)
            mine = page.reserved(0) * page.worst
            leased = reserved_value(sums) - mine
            text, left, resets = _sentence(
                f"the budget of {scope.id.replace(':', ' ')}", scope.budget, spent, mine, now
            )
            found.append((f"{text}, {usd(leased, 4)} of it leased to its members", left, resets))
    return sorted(found, key=lambda item: item[1])


def _sentence(name: str, budget: Budget, spent: int, waiting: int, now: int) -> tuple[str, int, str]:
    limit = budget.limit_at(now)
    left = limit - budget.margin - spent - waiting
    resets = periods.stamp(periods.end(now, budget.period, budget.zone), budget.zone)
    text = f"{name}: {usd(spent, 4)} of {usd(limit)} USD spent this {budget.period}, {usd(max(0, left), 4)} left"
    if budget.margin:
        text += f" beside the margin of {usd(budget.margin)}"
    if budget.raised and now < budget.raised.until:
        until = periods.stamp(budget.raised.until, budget.zone)
        text += f" (raised by {usd(budget.raised.amount)} until {until}: {budget.raised.reason})"
    return f"{text}, resets {resets}", left, resets
