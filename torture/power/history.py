"""What the clients of a recording were told, and when; judges what is left after a power cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .client import MARKS
from .recorder import Event, Kind
from .workload import ORDER, SINGLE, State, Step


class Outcome(StrEnum):
    """What a power cut has done."""

    KEPT = "all kept"
    LOST = "end lost"
    """It holds what it held at some earlier moment."""
    MIXED = "mixed"
    """It holds what it has never held."""
    DAMAGED = "refused"
    """It cannot be opened, or says that it is damaged."""
    CRASHED = "crashed"
    """It ends the process that opens it, or hangs it."""


@dataclass
class _Single:
    """An increment by itself, between two changes of its client."""

    after: int
    """The place of the change before it."""
    before: float = float("inf")
    done: int = 0


@dataclass
class History:
    """The changes in their order, and when each began and had returned: positions in the log."""

    states: list[State] = field(default_factory=lambda: [{}])
    """What the store holds after so many changes."""
    began: list[int] = field(default_factory=lambda: [-1])
    done: list[int] = field(default_factory=lambda: [-1])
    singles: dict[int, _Single] = field(default_factory=dict)

    def judge(self, found: Mapping[str, Any], position: int) -> Outcome:
        """What was lost, in the state found after a power cut at a position of the log."""
        place, single = found.get(ORDER, 0), found.get(SINGLE, 0)
        if not isinstance(place, int) or not 0 <= place < len(self.states):
            return Outcome.MIXED
        others = {key: value for key, value in found.items() if key != SINGLE}
        if others != self.states[place] or not self._fits(place, single):
            return Outcome.MIXED
        if max(self.began[: place + 1]) >= position:
            return Outcome.MIXED  # It was not asked for by then.
        confirmed = max(n for n, done in enumerate(self.done) if done < position)
        singles = [n for n, each in self.singles.items() if each.done < position]
        if place < confirmed or single < max(singles, default=0):
            return Outcome.LOST
        return Outcome.KEPT

    def _fits(self, place: int, single: Any) -> bool:
        """Whether the single increments that are there are those of the same moment."""
        there = [n for n, each in self.singles.items() if each.before <= place]
        not_there = [n for n, each in self.singles.items() if each.after > place]
        most = min(not_there, default=len(self.singles) + 1) - 1
        return isinstance(single, int) and max(there, default=0) <= single <= most


def history(events: Sequence[Event]) -> History:
    """What the marks in a recording say.

    :raises ValueError: the numbers that the clients were given are not all different.
    """
    inode = next(
        e.inode for e in events if e.kind is Kind.OPEN and e.data.endswith(b"/" + MARKS.encode())
    )
    marks = [
        (position, event.data.decode().split())
        for position, event in enumerate(events)
        if event.kind is Kind.WRITE and event.inode == inode
    ]
    found = History()
    began: dict[tuple[str, ...], int] = {}
    steps: dict[int, tuple[Step, int, int]] = {}
    last: dict[str, int] = {}
    open_singles: dict[str, _Single] = {}
    for position, (client, event, what, *numbers) in marks:
        if event == "begin":
            began[client, what, numbers[0]] = position
            continue
        number, place = map(int, numbers)
        if what == ORDER:
            steps[place] = Step(client, number), began[client, what, numbers[0]], position
            last[client] = place
            if client in open_singles:
                open_singles.pop(client).before = place
        else:
            single = found.singles[place] = open_singles[client] = _Single(last[client])
            single.done = position
    for place in range(1, len(steps) + 1):
        step, start, end = steps[place]
        state = dict(found.states[-1])
        step.apply(state)
        found.states.append(state)
        found.began.append(start)
        found.done.append(end)
    if sorted(found.singles) != list(range(1, len(found.singles) + 1)):
        raise ValueError("the clients were given wrong numbers")
    return found
