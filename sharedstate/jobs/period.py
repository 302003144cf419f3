"""Which period a moment is in."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..keyspace.arguments import checked_seconds


class Period(Protocol):
    """Numbers the periods in the order of time."""

    def number(self, now: float) -> int:
        """The number of the period that a time in seconds since 1970 is in."""
        ...


class Every:
    """Periods of so many seconds since 1970; 0: one that does not end."""

    def __init__(self, seconds: float | timedelta) -> None:
        self._seconds = checked_seconds(seconds)

    def number(self, now: float) -> int:
        return int(now // self._seconds) if self._seconds else 0


class Daily:
    """Days that begin at a time such as ``"03:30"``.

    Where the clocks are changed, a time that is left out is the one after it, and one that comes
    twice counts once.
    """

    def __init__(self, at: str, zone: str | tzinfo) -> None:
        try:
            self._at = datetime.strptime(at, "%H:%M").time()
        except (TypeError, ValueError):
            raise ValueError(f"a time of the day is a text such as '03:30', not {at!r}") from None
        try:
            self._zone = ZoneInfo(zone) if isinstance(zone, str) else zone
        except (ValueError, ZoneInfoNotFoundError) as error:
            raise ValueError(
                f"no time zone {zone!r} is known: names are such as 'Europe/Berlin'; "
                "pip install tzdata where the system has none"
            ) from error

    def number(self, now: float) -> int:
        moment = datetime.fromtimestamp(now, self._zone)
        return moment.toordinal() - (moment.time() < self._at)


def period(every: float | timedelta | None, at: str | None, zone: str | tzinfo) -> Period:
    """The periods that one of the two says."""
    if every is not None and at is None:
        return Every(every)
    if at is not None and every is None:
        return Daily(at, zone)
    raise ValueError("say either every=, a number of seconds, or at=, a time of the day")
