"""Races: what the workers of a crowd do, how to look at the end of it, and who judges both."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import crowd
from crowd import GATE, Outcome
from race_judges import (
    judge_adds,
    judge_computations,
    judge_counted_pairs,
    judge_exchanges,
    judge_locked,
    judge_numbers,
    judge_once,
    judge_pairs,
    judge_refreshes,
)

from sharedstate import ABSENT

Calls = Generator[Any, Any, None]


# What the workers do.


def increments(state: Any, me: int, times: int) -> Calls:
    for _ in range(times):
        yield partial(state.inc, "n")


def swaps(state: Any, me: int, times: int) -> Calls:
    for _ in range(times):
        yield partial(_swap_up, state)


def _swap_up(state: Any) -> int:
    while True:
        found = state.get("n", ABSENT)
        number = 1 if found is ABSENT else found + 1
        if state.compare_and_set("n", found, number):
            return number


def updates(state: Any, me: int, times: int) -> Calls:
    """The results are the sizes of a dictionary that grows by one item each time."""
    for i in range(times):
        yield partial(_put_item, state, f"{me}.{i}")


def _put_item(state: Any, name: str) -> int:
    return len(state.update("d", lambda items: {**items, name: True}, default={}))


def saturations(state: Any, me: int, times: int) -> Calls:
    """All reach for more than the bound allows, which others move."""
    for _ in range(times):
        yield partial(_inc_saturated, state)


def _inc_saturated(state: Any) -> int:
    while True:
        number, added = state.inc_saturated("n", 5, maximum=state.get("n", 0) + 1)
        if added:
            return int(number)


def appends(state: Any, me: int, times: int) -> Calls:
    for i in range(times):
        yield partial(state.append, "d", f"{me}.{i}")


def adds(state: Any, me: int, times: int) -> Calls:
    for i in range(times):
        yield partial(_add, state, f"k{i}", me)


def _add(state: Any, key: str, me: int) -> tuple[str, bool]:
    return key, state.add(key, me)


def exchanges(state: Any, me: int, times: int) -> Calls:
    """Everybody puts in what nobody else has, and takes out what was there."""
    for i in range(times):
        yield partial(state.exchange, "x", f"{me}.{i}")


def computations(state: Any, me: int, times: int) -> Calls:
    for i in range(times):
        yield GATE
        yield partial(_compute, state, f"k{i}")


def _compute(state: Any, key: str, *timeout: int, **stale: int) -> tuple[str, str]:
    def make() -> str:
        state.inc(f"{key} was made")
        return str(uuid.uuid4())

    return key, state.get_or_set(key, make, *timeout, **stale)


def refreshes(state: Any, me: int, times: int) -> Calls:
    """The first values are stale when they are asked for again."""
    for i in range(times):
        yield partial(state.get_or_set, f"k{i}", lambda: "old", 3600)
        yield GATE
        yield partial(_compute, state, f"k{i}", 7200, stale=3600)


def locked(state: Any, me: int, times: int) -> Calls:
    """What the lock guards is a get-then-set: it shows when two are inside."""
    for _ in range(times):
        yield partial(_count_inside, state)


def _count_inside(state: Any) -> tuple[int, int]:
    with state.lock("l", wait=60) as lock:
        number = state.get("n", 0) + 1
        state.set("n", number)
        return number, lock.fence


def once_each(state: Any, me: int, times: int) -> Calls:
    """All come with the same tokens, in the same order."""
    for i in range(times):
        yield GATE
        yield partial(_inc_once, state, f"token {i}")


def _inc_once(state: Any, token: str) -> tuple[str, int]:
    return token, state.inc("n", once=token)


PAIR = ("a", "b")


def pairs_set(state: Any, me: int, times: int) -> Calls:
    """Some write the same to both keys, the others read both at once."""
    for i in range(times):
        if me % 2:
            yield partial(_set_pair, state, f"{me}.{i}")
        else:
            yield partial(state.get_many, *PAIR)


def _set_pair(state: Any, value: str) -> None:
    state.set_many(dict.fromkeys(PAIR, value))


def pairs_counted(state: Any, me: int, times: int) -> Calls:
    for _ in range(times):
        if me % 2:
            yield partial(_inc_pair, state)
        else:
            yield partial(state.get_many, *PAIR)


def _inc_pair(state: Any) -> tuple[int, ...]:
    return tuple(state.inc_many(dict.fromkeys(PAIR, 1)).values())


# What was found in the end.


def number(state: Any) -> Any:
    return state.get("n")


def size(state: Any) -> int:
    return len(state.get("d"))


def winners(state: Any) -> dict[str, int]:
    return {key: state.get(key) for key in (f"k{i}" for i in range(_KEYS))}


def exchanged(state: Any) -> Any:
    return state.get("x")


def made(state: Any) -> list[int]:
    return [state.get(f"k{i} was made") for i in range(_ROUNDS)]


def pair(state: Any) -> Any:
    return state.get_many(*PAIR)


_KEYS = 40
_ROUNDS = 8
_SIZES = {"threads": 8, "forked": 5, "spawned": 2}
"""How many workers a crowd has; to start one that is spawned takes longer than its race."""


@dataclass(frozen=True)
class Race:
    work: Callable[..., Calls]
    look: Callable[[Any], Any]
    judge: Callable[[Outcome], Iterator[str]]
    times: int
    """How often each thread or process does it."""
    greenlets: tuple[int, int]
    """How many greenlets there are, and how often each does it."""
    ways: tuple[str, ...] = ("threads", "forked", "greenlets")
    needs: frozenset[str] = frozenset()

    def run(self, kind: str, open_state: Callable[[], Any], *, slow: bool = False) -> Outcome:
        workers, times = self.greenlets if kind == "greenlets" else (_SIZES[kind], self.times)
        times = max(times // 4, 5) if slow else times
        return crowd.run(kind, open_state, partial(self.work, times=times), workers, self.look)


ALL = ("threads", "spawned", "forked", "greenlets")
ONCE = frozenset({"once"})
BATCH = frozenset({"atomic_batch"})
RACES = {
    "inc": Race(increments, number, judge_numbers, 250, (200, 5), ALL),
    "compare_and_set": Race(swaps, number, judge_numbers, 40, (40, 2)),
    "update": Race(updates, size, judge_numbers, 25, (40, 2)),
    "inc_saturated": Race(saturations, number, judge_numbers, 25, (40, 2)),
    "append": Race(appends, size, judge_numbers, 25, (40, 2)),
    "add": Race(adds, winners, judge_adds, _KEYS, (40, _KEYS)),
    "exchange": Race(exchanges, exchanged, judge_exchanges, 100, (100, 4)),
    "get_or_set": Race(computations, made, judge_computations, _ROUNDS, (40, _ROUNDS)),
    "stale": Race(refreshes, made, judge_refreshes, _ROUNDS, (40, _ROUNDS)),
    "lock": Race(locked, number, judge_locked, 8, (30, 1)),
    "once": Race(once_each, number, judge_once, 20, (40, 20), needs=ONCE),
    "set_many": Race(pairs_set, pair, judge_pairs, 150, (40, 10), needs=BATCH),
    "inc_many": Race(pairs_counted, pair, judge_counted_pairs, 150, (40, 10), needs=BATCH),
}
