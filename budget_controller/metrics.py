"""The controller's own metrics in Prometheus' text format. Amounts are USD with every digit; users are not labels."""

from __future__ import annotations

from .money import usd_exact
from .view import View

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
    put("unpriced_models", "Models without a price in the last run.", [("", len(last.get("unpriced", ())))])
    put("strangers", "Consumers of no Project that used tokens.", [("", len(last.get("strangers", ())))])
    put("undebited_tokens", "Counted and never debited, found in the last run.", [("", last.get("undebited", 0))])
    put("credited_tokens", "Balances moved up by others, found in the last run.", [("", last.get("credited", 0))])
    put("alerts_undelivered", "Alerts that the webhook did not take yet.", [("", undelivered)])
    witnesses = [
        (f'{{project="{_label(project)}",model="{_label(model)}"}}', guard - statistics)
        for project, model, guard, statistics in last.get("witnesses", ())
    ]
    put("witness_gap_tokens", "Tokens of the usage-guard minus those of ai-statistics.", witnesses)
    scopes = [line for line in view.lines if line.kind != "user"]
    for name, help_ in _SCOPE_GAUGES:
        rows: list[tuple[str, object]] = []
        for line in scopes:
            amount = getattr(line, name.removesuffix("_usd"))
            if amount is not None:
                labels = f'{{kind="{line.kind}",name="{_label(line.name)}",period="{line.period}"}}'
                rows.append((labels, usd_exact(amount)))
        put(name, help_, rows)
    models: list[tuple[str, object]] = [
        (f'{{kind="{line.kind}",name="{_label(line.name)}",model="{_label(model)}"}}', usd_exact(amount))
        for line in scopes
        for model, amount in line.models.items()
    ]
    put("model_spent_usd", "Booked this month by model.", models)
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
