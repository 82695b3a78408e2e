"""Spend: the ledger of the budget controller, at every level a budget can be set on."""

from .identity import VARIABLES
from .model import Dashboard, Kind, Panel, Query, Row, Unit

# Level of a budget -> the labels that name it.
LEVELS = {
    "org": "org",
    "project": "org, project",
    "group": "org, project, group",
    "user": "org, project, group, user",
}
# A budget of a wider level has empty labels below it, so every choice of a variable must also keep "".
_WITHIN = 'org=~"$org|",project=~"$project|",group=~"$group|",user=~"$user|"'
MONEY = ("limit", "spent", "leased", "left", "forecast")


def _money(what: str, level: str) -> str:
    return f'max by ({LEVELS[level]}) (ai_gateway:budget:usd{{amount="{what}",kind="{level}",{_WITHIN}}})'


def _table(level: str) -> Panel:
    return Panel(
        title=f"By {level}",
        why="Limit, spent, leased to the gateway, left, and the forecast for the end of the period.",
        unit=Unit.USD,
        queries=tuple(Query(_money(what, level), what) for what in MONEY),
        kind=Kind.TABLE,
        width=12,
    )


TOTALS = Row(
    "This period",
    (
        *(
            Panel(
                title,
                why,
                Unit.USD,
                (Query(f"sum({_money(what, 'org')})", what),),
                kind=Kind.NUMBER,
                width=4,
                height=4,
            )
            for title, what, why in (
                ("Limit", "limit", "All orgs' budgets together."),
                ("Spent", "spent", "Booked: counters priced by model, and what could not be attributed."),
                ("Leased", "leased", "Handed to the gateway as token balances and not yet spent."),
                ("Left", "left", "What can still be leased."),
                ("Forecast", "forecast", "Spend at the end of the period if it goes on like this."),
            )
        ),
        Panel(
            "Unattributed",
            "Debited by the gateway but seen by no counter in time; booked at the worst price.",
            Unit.USD,
            (Query(f"sum({_money('unattributed', 'org')})", "unattributed"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            warn=1,
            bad=10,
        ),
    ),
)

USED = Row(
    "How much of each budget is used",
    tuple(
        Panel(
            f"Used by {level}",
            "1 is all of it. The alerts are at 0.8 and 1.",
            Unit.RATIO,
            (
                Query(
                    f"{_money('spent', level)} / ({_money('limit', level)} > 0)",
                    " / ".join("{{" + label.strip() + "}}" for label in LEVELS[level].split(",")),
                ),
            ),
            kind=Kind.BARS,
            width=6,
            warn=0.8,
            bad=1,
        )
        for level in LEVELS
    ),
)

SPENT_BY = Row(
    "Top users and models",
    (
        Panel(
            "Top users",
            "Spent in each user's current period; the controller's report has every user.",
            Unit.USD,
            (Query(f"topk(10, {_money('spent', 'user')})", "{{project}} / {{user}}"),),
            kind=Kind.BARS,
            width=12,
        ),
        Panel(
            "Top models",
            "Spent this month.",
            Unit.USD,
            (
                Query(
                    "topk(10, sum by (model) (ai_gateway:model_spent:usd"
                    '{kind="project",project=~"$project",model=~"$model"}))',
                    "{{model}}",
                ),
            ),
            kind=Kind.BARS,
            width=12,
        ),
    ),
)

COURSE = Row(
    "Course of the period",
    (
        Panel(
            "Spent by project",
            "Falls to zero when a new period begins.",
            Unit.USD,
            (Query(_money("spent", "project"), "{{project}}"),),
            width=12,
        ),
        Panel(
            "Unattributed by project",
            "A line that keeps growing means that a counter is missing: see the runbook.",
            Unit.USD,
            (Query(_money("unattributed", "project"), "{{project}}"),),
            width=12,
        ),
    ),
)

SPEND = Dashboard(
    uid="ai-gateway-spend",
    title="Spend",
    why="Dollars of the current budget period: spent, leased, left and forecast, by every level.",
    rows=(TOTALS, USED, Row("Every level", tuple(_table(level) for level in LEVELS)), SPENT_BY, COURSE),
    variables=VARIABLES,
    since="now-7d",
)
