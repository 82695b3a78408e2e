"""The controller's own metrics in Prometheus' text format. Amounts are USD with every digit.

Users have rows of their own (``kind="user"``) only once they have spent in this month, and only in USER_GAUGES.
"""

from __future__ import annotations

from .money import usd_exact
from .view import Line, View

PREFIX = "aigw_budget_"
_SCOPE_GAUGES = (
    ("spent_usd", "Booked in the current period."),
    ("leased_usd", "In balances, at the worst price of a token."),
    ("waiting_usd", "Debited or held and not in the counters yet, at the worst price."),
    ("unattributed_usd", "Booked this month for debits that no counter explained."),
    ("forecast_usd", "Spend at the period's end if it goes on as it did."),
    ("limit_usd", "The budget with its raise; absent without a budget."),
    ("left_usd", "Limit minus spent minus waiting; absent without a budget."),
)
USER_GAUGES = frozenset({"spent_usd", "forecast_usd", "limit_usd", "left_usd"})


def render(view: View, run_milliseconds: int, undelivered: int) -> str:
    """The exposition. ``last_success`` is a time, so that its age grows when no run finishes any more."""
    last = view.head.last
    lines: list[str] = []

    def put(name: str, help_: str, rows: list[tuple[str, object]]) -> None:
        lines.append(f"# HELP {PREFIX}{name} {help_}")
        lines.append(f"# TYPE {PREFIX}{name} gauge")
        lines.extend(f"{PREFIX}{name}{labels} {value}" for labels, value in rows)

    put("last_success_timestamp_seconds", "When the last run finished.", [("", last.get("at", 0))])
    seconds, rest = divmod(run_milliseconds, 1000)
    put("run_seconds", "How long the last run took.", [("", f"{seconds}.{rest:03d}")])
    put("active_consumers", "Consumers that the last run looked at.", [("", last.get("active", 0))])
    unpriced = view.head.unpriced
    put("unpriced_models", "Models without a price that were used on the last day.", [("", len(unpriced))])
    put(
        "unpriced_model_tokens",
        "Tokens of a model without a price, counted at its Project's worst price.",
        [(f'{{model="{_label(model)}"}}', tokens) for model, (_, tokens) in sorted(unpriced.items())],
    )
    put("strangers", "Consumers of no Project that used tokens.", [("", len(last.get("strangers", ())))])
    put("undebited_tokens", "Counted and never debited, found in the last run.", [("", last.get("undebited", 0))])
    put("credited_tokens", "Balances moved up by others, found in the last run.", [("", last.get("credited", 0))])
    put("alerts_undelivered", "Alerts that the webhook did not take yet.", [("", undelivered)])
    witnesses = [
        (f'{{project="{_label(project)}",model="{_label(model)}"}}', guard - statistics)
        for project, model, guard, statistics in last.get("witnesses", ())
    ]
    put("witness_gap_tokens", "Tokens of the usage-guard minus those of ai-statistics.", witnesses)
    put("consumer_info", "Where a consumer belongs.", [(_belongs(line), 1) for line in view.lines if line.above])
    shown = [line for line in view.lines if line.kind != "user" or line.models]
    for name, help_ in _SCOPE_GAUGES:
        rows: list[tuple[str, object]] = []
        for line in shown:
            amount = getattr(line, name.removesuffix("_usd"))
            if amount is not None and (line.kind != "user" or name in USER_GAUGES):
                labels = f'{{kind="{line.kind}",name="{_label(line.name)}",period="{line.period}"}}'
                rows.append((labels, usd_exact(amount)))
        put(name, help_, rows)
    models: list[tuple[str, object]] = [
        (f'{{kind="{line.kind}",name="{_label(line.name)}",model="{_label(model)}"}}', usd_exact(amount))
        for line in shown
        for model, amount in line.models.items()
    ]
    put("model_spent_usd", "Booked this month by model.", models)
    return "\n".join(lines) + "\n"


def _belongs(line: Line) -> str:
    group, project, org = line.above
    user = line.name.partition(".")[2]
    labels = {"consumer": line.name, "org": org, "project": project, "group": group, "user": user}
    return "{" + ",".join(f'{name}="{_label(value)}"' for name, value in labels.items()) + "}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
