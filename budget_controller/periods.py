"""Calendar periods in IANA zones. Times are whole seconds since the epoch and always passed in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

PERIODS = ("month", "week", "day")


@lru_cache(maxsize=4096)
def keys(at: int, zone: str) -> tuple[str, str, str]:
    """The month, ISO week and day that ``at`` falls in: ``("2026-11", "2026-W47", "2026-11-23")``."""
    day = local_date(at, zone)
    year, week, _ = day.isocalendar()
    return f"{day:%Y-%m}", f"{year}-W{week:02d}", f"{day:%Y-%m-%d}"


def key(at: int, period: str, zone: str) -> str:
    """The key of one kind of period."""
    return keys(at, zone)[PERIODS.index(period)]


def start(at: int, period: str, zone: str) -> int:
    """When the period that holds ``at`` began."""
    return _midnight(_first_day(local_date(at, zone), period), zone)


def end(at: int, period: str, zone: str) -> int:
    """When the period that holds ``at`` ends and the next one begins."""
    first = _first_day(local_date(at, zone), period)
    days = {"day": 1, "week": 7, "month": 32}[period]
    following = first + timedelta(days=days)
    return _midnight(following.replace(day=1) if period == "month" else following, zone)


def midnights(after: int, until: int, zones: Iterable[str]) -> list[int]:
    """Every local midnight in (after, until], over all zones, ascending: where some period may change."""
    found: set[int] = set()
    for zone in zones:
        at = end(after, "day", zone)
        while at <= until:
            found.add(at)
            at = end(at, "day", zone)
    return sorted(found)


def stamp(at: int, zone: str) -> str:
    """A time as people write it, in their zone."""
    return datetime.fromtimestamp(at, _zone(zone)).isoformat(timespec="minutes")


def parse_time(text: str) -> int:
    """An ISO 8601 time, UTC unless it names an offset, to whole seconds. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def local_date(at: int, zone: str) -> date:
    """The calendar day at ``at`` in ``zone``."""
    return datetime.fromtimestamp(at, _zone(zone)).date()


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _first_day(day: date, period: str) -> date:
    if period == "month":
        return day.replace(day=1)
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day


@lru_cache(maxsize=4096)
def _midnight(day: date, zone: str) -> int:
    return int(datetime.combine(day, time(), _zone(zone)).timestamp())
