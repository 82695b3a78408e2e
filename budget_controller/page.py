"""The report as one self-contained HTML page: no script, no outside file, light and dark, readable on a phone."""

from __future__ import annotations

from datetime import date, timedelta
from html import escape

from . import periods
from .money import usd
from .report import KINDS
from .view import Line, View

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6b7d;--line:#d9dfe7;--paper:#fff;--card:#f6f8fa;--spent:#2563eb;
--waiting:#d97706;--leased:#93b4f5;--bad:#dc2626;--good:#15803d}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--soft:#9aa8ba;--line:#303a47;--paper:#12171e;--card:#1a212b;
--spent:#6ea0ff;--waiting:#f0a63c;--leased:#2f4a80;--bad:#ff7b72;--good:#4ac26b}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:auto;padding:1rem}h1{font-size:1.4rem;margin:.5rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p,small{color:var(--soft)}.cards{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem}
.card b{font-size:1.15rem}.card h3{margin:0;font-size:1rem}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:500;font-size:.85rem}th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
.bad{color:var(--bad)}.good{color:var(--good)}
"""  # noqa: E501


def render(view: View, users: int = 200) -> str:
    """The page. Of users the table shows those who spent most."""
    budgets = [line for kind in KINDS[:3] for line in view.of(kind) if line.limit is not None]
    site, moment = escape(view.site), escape(periods.stamp(view.at, "UTC"))
    last = view.head.last.get("at")
    age = "no run has finished yet" if last is None else f"last run {escape(periods.stamp(int(last), 'UTC'))}"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>",  # noqa: E501
        f"<title>Budgets of {site}</title><style>{_STYLE}</style><main><h1>Budgets of {site}</h1>",
        f"<p>As of {moment}, {age}. Amounts in USD; forecasts assume that spending goes on as it did.</p>",
        _warnings(view),
        "<div class=cards>",
        *map(_card, budgets),
        "</div><h2>This month by model</h2>",
        _bars(list(view.models().items())),
        "<h2>Who spent most</h2>",
        _bars([(line.name, line.spent) for line in view.of("user")[:15]]),
        *(_table(kind, view.of(kind)[:users]) for kind in KINDS),
        "</main></html>\n",
    ]
    return "\n".join(parts)


def _warnings(view: View) -> str:
    last = view.head.last
    found = [f"model without a price, charged at the worst: {model}" for model in sorted(view.head.unpriced)]
    found += [f"usage by a consumer that no Project has: {name}" for name in last.get("strangers", ())]
    return "".join(f"<p class=bad>{escape(text)}</p>" for text in found)


def _card(line: Line) -> str:
    limit, left = line.limit or 0, line.left or 0
    over = line.forecast > limit
    percent = line.spent * 100 // limit if limit else 0
    return (
        f"<section class=card><h3>{escape(line.kind)} {escape(line.name)}</h3>"
        f"<b>{usd(line.spent)}</b> of {usd(limit)} ({percent} %), <span class={'bad' if left <= 0 else 'good'}>{usd(left)} left</span>"  # noqa: E501
        f"{_meter(line)}{_curve(line)}"
        f"<small>leased {usd(line.leased)}, waiting {usd(line.waiting)}, unattributed {usd(line.unattributed)}<br>"
        f"forecast <span class={'bad' if over else 'good'}>{usd(line.forecast)}</span> by {escape(periods.stamp(line.resets, line.zone))}</small>"  # noqa: E501
        "</section>"
    )


def _meter(line: Line) -> str:
    """Spent, waiting and leased as parts of the limit."""
    limit = max(1, line.limit or 1)
    at, bars = 0, []
    for amount, colour in ((line.spent, "spent"), (line.waiting, "waiting"), (line.leased, "leased")):
        width = min(1000 - at, max(0, amount) * 1000 // limit)
        bars.append(f'<rect x="{at}" width="{width}" height="40" fill="var(--{colour})"/>')
        at += width
    label = f"{line.name}: spent {usd(line.spent)} of {usd(limit)}"
    return (
        f'<svg viewBox="0 0 1000 40" role="img" aria-label="{escape(label)}" preserveAspectRatio="none" style="height:.6rem;margin:.4rem 0">'  # noqa: E501
        f'<rect width="1000" height="40" fill="var(--line)"/>{"".join(bars)}</svg>'
    )


def _curve(line: Line) -> str:
    """Spend added up by day, the limit, and the forecast to the period's end."""
    first, end = periods.local_date(line.began, line.zone), periods.local_date(line.resets - 1, line.zone)
    total_days = (end - first).days + 1
    if total_days < 2 or not line.limit:
        return ""
    known = {day: amount for day, amount in line.days.items() if first.isoformat() <= day <= end.isoformat()}
    latest = max([date.fromisoformat(day) for day in known] or [first])
    top = max(line.limit, line.forecast, line.spent, 1)
    width, height, points, total = 320, 120, [(0, 0)], 0
    for offset in range((latest - first).days + 1):
        total += known.get((first + timedelta(days=offset)).isoformat(), 0)
        points.append((offset + 1, total))

    def xy(day: int, amount: int) -> str:
        return f"{6 + day * (width - 12) // total_days},{height - 16 - max(0, amount) * (height - 26) // top}"

    path = " ".join(xy(day, amount) for day, amount in points)
    limit = f'<line x1="6" x2="{width - 6}" y1="{xy(0, line.limit).partition(",")[2]}" y2="{xy(0, line.limit).partition(",")[2]}"'  # noqa: E501
    forecast = f"{xy(*points[-1])} {xy(total_days, line.forecast)}"
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="spend of {escape(line.name)} by day">'
        f'{limit} stroke="var(--bad)" stroke-dasharray="2 3"/><text x="8" y="10">{usd(top)}</text>'
        f'<polyline points="{forecast}" fill="none" stroke="var(--soft)" stroke-dasharray="4 4"/>'
        f'<polyline points="{path}" fill="none" stroke="var(--spent)" stroke-width="2"/>'
        f'<text x="6" y="{height - 2}">{first:%d %b}</text><text x="{width - 6}" y="{height - 2}" text-anchor="end">{end:%d %b}</text></svg>'  # noqa: E501
    )


def _bars(items: list[tuple[str, int]]) -> str:
    if not items:
        return "<p>Nothing yet.</p>"
    top = max(1, *(amount for _, amount in items))
    rows = []
    for index, (name, amount) in enumerate(items[:20]):
        y = index * 26
        rows.append(
            f'<rect x="0" y="{y + 4}" width="{max(0, amount) * 380 // top + 2}" height="18" rx="3" fill="var(--leased)"/>'  # noqa: E501
            f'<text x="6" y="{y + 17}" style="fill:var(--ink)">{escape(name)}  {usd(amount)}</text>'
        )
    return f'<svg viewBox="0 0 480 {26 * len(rows)}" role="img" aria-label="spend">{"".join(rows)}</svg>'


def _table(kind: str, lines: list[Line]) -> str:
    rows = []
    for line in lines:
        cells = (line.limit, line.spent, line.leased, line.waiting, line.left, line.forecast)
        money = "".join(f"<td>{'-' if amount is None else usd(amount)}</td>" for amount in cells)
        name = escape(line.name) + (" <span class=bad>blocked</span>" if line.blocked else "")
        rows.append(f"<tr><td>{name}</td><td>{line.period}</td>{money}</tr>")
    heads = "".join(
        f"<th>{h}</th>" for h in (kind, "period", "limit", "spent", "leased", "waiting", "left", "forecast")
    )
    return f"<h2>{kind.title()}s</h2><div class=scroll><table><tr>{heads}</tr>{''.join(rows)}</table></div>"
