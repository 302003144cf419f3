"""Cuts the power at random points of a recording, and looks at what is left."""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from . import client
from .cases import Case
from .check import CRASHED, opened
from .disk import Disk, Image, restore
from .history import History, Outcome, history
from .recorder import Event, Kind, events, record

_NEAR = 4


class Recording(NamedTuple):
    """What a store did while clients used it."""

    log: Path
    events: Sequence[Event]
    history: History


class Incomplete(Exception):
    """The recorder has missed something that was written."""


class Broken(NamedTuple):
    """A cut after which something was found that is not allowed."""

    cut: int
    outcome: Outcome
    why: str
    kept: Path | None


@dataclass
class Result:
    """What all the cuts of a case have done."""

    case: Case
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)

    @property
    def is_as_promised(self) -> bool:
        """Whether nothing forbidden was found, or, in a control, something was."""
        return bool(self.broken) == self.case.is_control


def recorded(store: str, durability: str, steps: int, directory: Path) -> Recording:
    """A recording of a store that several processes use.

    :param steps: how many changes there are, together.
    :param directory: where the recording is put, and the store beside it.
    :raises Incomplete: what was recorded does not make the files that are there.
    """
    root = directory.resolve() / f"{store}-{durability}"
    root.mkdir(mode=0o700)
    log = root.with_suffix(".log")
    arguments = (root, store, durability, str(steps))
    found = record([sys.executable, "-m", client.__name__, *arguments], root, log)
    _compare(root, found)
    return Recording(log, found, history(found))


def load(log: Path) -> Recording:
    """A recording that was made before."""
    found = events(log.read_bytes())
    return Recording(log, found, history(found))


def replay(
    recording: Recording,
    case: Case,
    cuts: int,
    seed: str,
    directory: Path,
    *,
    keep: Path | None = None,
) -> Result:
    """Cut the power at random points, and open what is left each time.

    :param keep: where the files of cuts that break a promise are put, and the recording.
    """
    result = Result(case)
    place = directory / "cut"
    for number, position, image in _cuts(recording, case, cuts, seed):
        restore(image, place)
        outcome, why = _look(recording.history, case, position, place)
        result.outcomes[outcome] += 1
        if outcome not in case.allowed:
            kept = _kept(recording, image, case, number, keep)
            result.broken.append(Broken(number, outcome, why, kept))
    shutil.rmtree(place, ignore_errors=True)
    return result


def _look(history: History, case: Case, position: int, place: Path) -> tuple[Outcome, str]:
    found, why = opened(place, case.store, case.durability)
    if found is not None:
        return history.judge(found, position), ""
    return (Outcome.CRASHED if why.startswith(CRASHED) else Outcome.DAMAGED), why


def _cuts(
    recording: Recording, case: Case, cuts: int, seed: str
) -> Iterator[tuple[int, int, Image]]:
    """The number of each cut, its position in the log, and what is left."""
    positions = sorted(_positions(recording.events, cuts, random.Random(seed)))
    disk = Disk(recording.events[0], syncs=case.syncs)
    at = 1
    for number, position in enumerate(positions):
        for event in recording.events[at:position]:
            disk.apply(event)
        at = position
        yield number, position, disk.cut(random.Random(f"{seed} {number}"))


def _positions(recorded: Sequence[Event], cuts: int, rng: random.Random) -> Iterator[int]:
    """Where the power is cut: anywhere, and as often by what is seldom done, such as new files."""
    kinds: dict[str, list[int]] = {}
    seen: set[bytes] = set()
    for position, event in enumerate(recorded):
        is_new = event.kind is Kind.OPEN and event.data not in seen
        seen.update([event.data] if event.kind is Kind.OPEN else [])
        kinds.setdefault("new" if is_new else event.kind.name, []).append(position)
    for _ in range(cuts):
        if rng.random() < 0.5:
            yield rng.randint(1, len(recorded))
        else:
            near = rng.choice(kinds[rng.choice(list(kinds))]) + rng.randint(1, _NEAR)
            yield min(near, len(recorded))


def _kept(
    recording: Recording, image: Image, case: Case, number: int, keep: Path | None
) -> Path | None:
    if keep is None or case.is_control:
        return None
    keep.mkdir(exist_ok=True, parents=True)
    with suppress(shutil.SameFileError):
        shutil.copy(recording.log, keep)
    path = keep / f"{recording.log.stem}-{number}"
    restore(image, path)
    return path


def _compare(root: Path, recorded: Sequence[Event]) -> None:
    """Make sure that what was recorded makes the files that are there."""
    disk = Disk(recorded[0])
    for event in recorded[1:]:
        disk.apply(event)
    present = disk.present()
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        file = disk.file(str(path))
        content = path.read_bytes() if path.is_file() else None
        if file is None or (not file.is_mapped and present[name] != content):
            raise Incomplete(f"{name} was written in a way that the recorder does not know")
