"""Whether responses are exact: pure functions of what the load generator kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import compress

from race.judging.checkers import Increment, duplicates, gaps, out_of_bounds, real_time_violations

from .load import Fault, Responses


def faults(responses: Responses) -> list[str]:
    """What was wrong with single responses, each kind with its count."""
    counts = Counter(responses.faults)
    found = [f"{counts[fault]} {fault.name.lower()}" for fault in Fault if fault and counts[fault]]
    return found + [responses.first_fault] * bool(found)


def inexact(responses: Responses, before: dict[int, int], step: int = 1) -> list[str]:
    """What is wrong with the numbers of increments; `before` is brought to where the keys stand.

    Every number of a key has to be given exactly once, and in the order of time: one that is
    given before another is asked for is smaller. So a connection that is given the response of
    another one shows, too. Responses that have a fault are left out.

    :param before: what each key stood at.
    :param step: what each request adds.
    """
    histories: dict[int, list[Increment]] = {}
    whole = [not fault for fault in responses.faults]
    columns = (responses.keys, responses.numbers, responses.began, responses.ended)
    for key, number, began, ended in zip(*(compress(c, whole) for c in columns), strict=True):
        histories.setdefault(key, []).append(Increment(number, began, ended))
    found = []
    for key, history in histories.items():
        found += [f"key {key}: {wrong}" for wrong in _wrong(history, before.get(key, 0), step)]
        before[key] = before.get(key, 0) + step * len(history)
    return found


def _wrong(history: list[Increment], before: int, step: int) -> Iterator[str]:
    """What is wrong with the history of one key."""
    places = [
        Increment((number - before) // step, began, ended)
        for number, began, ended in history
        if number is not None and (number - before) % step == 0
    ]
    if len(places) < len(history):
        yield f"{len(history) - len(places)} in between"
    numbers = [place.number for place in places if place.number is not None]
    if twice := duplicates(numbers):
        yield f"{len(twice)} given twice"
    if never := gaps(numbers, len(history)):
        yield f"{len(never)} never given"
    disordered = {*out_of_bounds(places), *(late for _, late in real_time_violations(places))}
    if disordered:
        yield f"{len(disordered)} not in the order of time"
