"""A history drawn along time: a line for each operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..judging.key_model import MISSING, Raised
from ..judging.linearizability import Event

MOST = 40
WIDTH = 48


class Bar(NamedTuple):
    """An operation as it is drawn.

    :param start: where it begins, from 0 to 1; what matters is what overlaps, and so the moments
        at which something begins or ends are equally far from each other.
    """

    who: str
    start: float
    end: float
    is_open: bool
    text: str


def bars(history: Sequence[Event]) -> list[Bar]:
    """The last operations of a history, in the order of their begins."""
    events = sorted(history, key=lambda event: event.started)[-MOST:]
    ends = [event.ended for event in events if not event.is_open]
    moments = sorted({event.started for event in events} | set(ends))
    places = {moment: place / len(moments) for place, moment in enumerate(moments)}
    return [
        Bar(
            str(event.process),
            places[event.started],
            1.0 if event.is_open else places[event.ended],
            event.is_open,
            described(event),
        )
        for event in events
    ]


def lines(history: Sequence[Event]) -> list[str]:
    """The same in text."""
    return [_line(bar) for bar in bars(history)]


def _line(bar: Bar) -> str:
    start, end = round(bar.start * WIDTH), max(round(bar.end * WIDTH), round(bar.start * WIDTH) + 1)
    body = "├" + "─" * (end - start - 1) + ("…" if bar.is_open else "┤")
    return f"{bar.who:>8} {' ' * start}{body}{' ' * (WIDTH - end)} {bar.text}"


def described(event: Event) -> str:
    """The operation and its result in words: ``inc(1) → 5``."""
    result = "no response" if event.is_open else shown(event.result)
    return f"{event.operation}({_argument(event.argument)}) → {result}"


def shown(value: Any) -> str:
    """A value of the model, as people write it."""
    if value is MISSING:
        return "missing"
    return value.error if isinstance(value, Raised) else repr(value)


def _argument(argument: Any) -> str:
    if argument is None:
        return ""
    if not hasattr(argument, "_asdict"):
        return shown(argument)
    defaults = argument._field_defaults
    given = {
        name: value
        for name, value in argument._asdict().items()
        if name not in defaults or value != defaults[name] or name == "delta"
    }
    return ", ".join(f"{name}={_inner(value)}" for name, value in given.items())


def _inner(value: Any) -> str:
    return f"+{value.amount}" if hasattr(value, "amount") else shown(value)
