"""Every operation is exact among threads, processes and greenlets, on every store.

A race is what the workers do, how to look at the end of it, and who judges both. Each one is run
on our stores, where nobody may find a fault, and on cachelib's get-then-set, where somebody must:
a judge that never finds one proves nothing.
"""

from __future__ import annotations

import math
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cachelib
import crowd
import pytest
from backends import BACKENDS, Backend
from crowd import GATE, Answer, Outcome

from race.judging import checkers
from race.judging.checkers import Increment
from sharedstate import ABSENT, SharedStateError, State
from torture.judging.key_model import MISSING, CompareAndSet, Inc, Raised, Update, one_key
from torture.judging.linearizability import Event, linearizable

pytestmark = pytest.mark.slow

Calls = Generator[Any, Any, None]
Settings = dict[str, str]


@pytest.fixture
def cache_settings(cache_settings: Settings, backend: Backend) -> Settings:
    # What a busy machine does to the waiting time is not what these tests are about.
    return cache_settings | {"CACHE_KEY_PREFIX": backend.prefix, "CACHE_TIMEOUT": "30"}


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
    """The answers are the sizes of a dictionary that grows by one item each time."""
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


# Who judges: each yields the faults it finds.


def judge_numbers(outcome: Outcome) -> Iterator[str]:
    """Each number from 1 to n once, in the order of real time, and n in the end."""
    n = len(outcome.answers)
    history = [Increment(answer.result, *answer[2:]) for answer in outcome.answers]
    numbers = [answer.result for answer in outcome.answers]
    if not checkers.exactly_one_to(numbers, n):
        yield f"twice: {checkers.duplicates(numbers)[:9]}, never: {checkers.gaps(numbers, n)[:9]}"
    if wrong := checkers.real_time_violations(history):
        yield f"against real time: {wrong[0]}"
    if wrong := checkers.out_of_bounds(history):
        yield f"no exact counter can say: {wrong[0]}"
    if outcome.found != n:
        yield f"{outcome.found} in the end, not {n}"


def judge_adds(outcome: Outcome) -> Iterator[str]:
    """One winner a key, whose value it has."""
    for key, value in outcome.found.items():
        added = [a.worker for a in outcome.answers if a.result == (key, True)]
        if added != [value]:
            yield f"{key} was added by {added} and holds {value}"


def judge_exchanges(outcome: Outcome) -> Iterator[str]:
    """What was put in came out once, but for the last; what came out first was nothing."""
    workers = Counter(answer.worker for answer in outcome.answers)
    put_in = Counter(f"{me}.{i}" for me, times in workers.items() for i in range(times))
    came_out = Counter(answer.result for answer in outcome.answers)
    if came_out + Counter([outcome.found]) != put_in + Counter([None]):
        yield f"lost: {put_in - came_out}, twice: {came_out - put_in}"


def judge_computations(outcome: Outcome) -> Iterator[str]:
    """One computation a key, whose value all got."""
    if set(outcome.found) != {1}:
        yield f"computed {outcome.found} times"
    for key, values in _by_name(outcome).items():
        if len(set(values)) > 1:
            yield f"{key} was {len(set(values))} values"


def judge_refreshes(outcome: Outcome) -> Iterator[str]:
    """One computation a key, whose value the others got, or the old one."""
    answers = [answer for answer in outcome.answers if answer.result != "old"]
    if set(outcome.found) != {1}:
        yield f"computed {outcome.found} times"
    for key, values in _by_name(Outcome(answers, None)).items():
        if len({*values, "old"}) > 2:
            yield f"{key} was {len({*values, 'old'})} values"


def judge_locked(outcome: Outcome) -> Iterator[str]:
    """Never two inside, and fences that grow in the order of holding."""
    yield from judge_numbers(
        Outcome([a._replace(result=a.result[0]) for a in outcome.answers], outcome.found)
    )
    fences = [fence for _, fence in sorted(answer.result for answer in outcome.answers)]
    if fences != sorted(set(fences)):
        yield f"fences in the order of holding: {fences[:20]}"


def judge_once(outcome: Outcome) -> Iterator[str]:
    """One increment a token, and the same answer to all who came with it."""
    answers = _by_name(outcome)
    first = [answer for numbers in answers.values() for answer in set(numbers)]
    if sorted(first) != list(range(1, len(answers) + 1)) or outcome.found != len(answers):
        yield f"{len(answers)} tokens: {sorted(first)}, and {outcome.found} at the end"


def judge_pairs(outcome: Outcome) -> Iterator[str]:
    """Nobody ever sees that only one of the two was written."""
    seen = [answer.result for answer in outcome.answers if answer.result is not None]
    torn = [(a, b) for a, b in (*seen, outcome.found) if a != b]
    if torn:
        yield f"torn: {torn[:5]}"


def judge_counted_pairs(outcome: Outcome) -> Iterator[str]:
    """Both are counted in one step, and snapshots of them only go forward."""
    yield from judge_pairs(outcome)
    counted = [a._replace(result=a.result[0]) for a in outcome.answers if a.worker % 2]
    yield from judge_numbers(Outcome(counted, outcome.found[0]))
    for me in {answer.worker for answer in outcome.answers}:
        seen = [answer.result[0] or 0 for answer in outcome.answers if answer.worker == me]
        if seen != sorted(seen):
            yield f"{me} saw the counter go back"


def _by_name(outcome: Outcome) -> dict[str, list[Any]]:
    answers = defaultdict(list)
    for answer in outcome.answers:
        name, value = answer.result
        answers[name].append(value)
    return answers


# The races.

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


# The others are slower, or another way to one of these: they meet fewer crowds.
_ALL_CROWDS = ("simple", "filesystem", "redis")
# They send the commands of "redis" by other connections; test_lifecycle.py forks with those.
_OTHER_CONNECTIONS = ("redis-sentinel", "redis-cluster")


def can(backend: Backend, kind: str) -> bool:
    """Whether such a crowd shares the store, and meets it in these tests."""
    if backend.scope == "process":
        return kind in ("threads", "greenlets")
    if backend.id in _OTHER_CONNECTIONS:
        return kind == "threads"
    if kind == "spawned":
        return backend.id == "filesystem"
    if backend.id == "etcd":  # Processes remember revisions each for itself, which threads share.
        return kind == "forked"
    return backend.id in _ALL_CROWDS or kind in ("threads", "forked")


# What the other races are made of.
_BASE = ("inc", "update", "lock", "once", "set_many")
# They have more than one way to write, by the operation. The others do each one alike, inside a
# transaction, and greenlets are switched alike in all of them.
_MANY_WAYS = ("simple", "filesystem", "redis", "memcached")


def has_all(backend: Backend, kind: str) -> bool:
    """Whether such a crowd meets every race on the store, and not only those of `_BASE`."""
    return backend.id in _MANY_WAYS and (kind != "greenlets" or backend.id == "redis")


CROWDS = [
    pytest.param(backend, name, kind, id=f"{name}-{kind}-{backend.id}")
    for name, race in RACES.items()
    for kind in race.ways
    for backend in BACKENDS
    if race.needs <= backend.can and can(backend, kind)
    if name in _BASE or has_all(backend, kind)
]


@pytest.mark.parametrize("backend, name, kind", CROWDS)
def test_exact(backend: Backend, name: str, kind: str, cache_settings: Settings) -> None:
    """Every answer and the end are what one worker after the other would have got."""
    race = RACES[name]
    open_state = partial(State.from_settings, cache_settings)
    outcome = race.run(kind, open_state, slow=backend.slow)
    assert list(race.judge(outcome)) == []


# The negative controls.


class GetThenSet:
    """The same operations, as people make them of `get` and `set`."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def get(self, key: str, default: Any = None) -> Any:
        value = self._cache.get(key)
        time.sleep(0)  # Lets others run, as every answer from outside the process does.
        return default if value is None else value

    def set(self, key: str, value: Any) -> bool:
        return self._cache.set(key, value)

    def get_many(self, *keys: str) -> list[Any]:
        return self._cache.get_many(*keys)

    def set_many(self, mapping: dict[str, Any]) -> None:
        self._cache.set_many(mapping)

    def inc(self, key: str, once: str | None = None) -> int:
        number = self.get(once) if once else None
        if number is None:
            number = self._inc(key)
            if once:
                self.set(once, number)
        return number

    def inc_many(self, deltas: dict[str, int]) -> dict[str, int]:
        return {key: self._inc(key) for key in deltas}

    def _inc(self, key: str) -> int:
        number = self.get(key, 0) + 1
        self.set(key, number)
        return number

    def inc_saturated(self, key: str, delta: int, maximum: int) -> tuple[int, int]:
        before = self.get(key, 0)
        self.set(key, max(before, min(before + delta, maximum)))
        return max(before, min(before + delta, maximum)), min(delta, maximum - before)

    def append(self, key: str, value: Any) -> int:
        return len(self.update(key, lambda items: [*items, value], []))

    def add(self, key: str, value: Any) -> bool:
        return self.compare_and_set(key, ABSENT, value)

    def update(self, key: str, change: Callable[[Any], Any], default: Any) -> Any:
        value = change(self.get(key, default))
        self.set(key, value)
        return value

    def compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        return self.get(key, ABSENT) == expected and self.set(key, value)

    def exchange(self, key: str, value: Any) -> Any:
        found = self.get(key)
        self.set(key, value)
        return found

    def get_or_set(
        self, key: str, make: Callable[[], Any], timeout: int = 0, stale: int = 0
    ) -> Any:
        found = self.get(key)
        is_good = found and not (stale and found == "old")
        return found if is_good else self.update(key, lambda _: make(), None)

    @contextmanager
    def lock(self, name: str, wait: float) -> Iterator[GetThenSet]:
        while self.get(name):
            time.sleep(0)
        self.set(name, True)
        self.fence = self._inc("fence")
        yield self
        self.set(name, False)


class Cachelib(GetThenSet):
    """With cachelib's own `inc` and `add`, which its files inherit."""

    def _inc(self, key: str) -> int:
        # None stands for a file that another process was just replacing.
        return self._cache.inc(key) or 0

    def add(self, key: str, value: Any) -> bool:
        return self._cache.add(key, value)


def open_simple() -> GetThenSet:
    return GetThenSet(cachelib.SimpleCache(threshold=10**6, default_timeout=0))


def open_files(directory: Path) -> Cachelib:
    return Cachelib(cachelib.FileSystemCache(str(directory), threshold=0, default_timeout=0))


CONTROL_ROUNDS = 30


@pytest.mark.parametrize("name", RACES)
@pytest.mark.parametrize("kind", ["threads", "forked"])
def test_control(name: str, kind: str, tmp_path: Path) -> None:
    """Get-then-set, on memory among threads and on files among processes, fails every race."""
    race = RACES[name]
    assert any(any(race.judge(race.run(kind, each))) for each in controls(kind, tmp_path))


def controls(kind: str, directory: Path) -> Iterator[Callable[[], GetThenSet]]:
    """Chances for cachelib to go wrong: a bounded number, each with an empty cache."""
    for i in range(CONTROL_ROUNDS):
        yield open_simple if kind == "threads" else partial(open_files, directory / str(i))


# Histories of all operations on one key.

HISTORIES = 20
SLOW_HISTORIES = 8
WORKERS = 4
EVENTS = 8


def mixed(state: Any, me: int, choose: Callable[..., Any], n: int = HISTORIES) -> Calls:
    """Worker `me` of each history; the results are events, yet without their times."""
    for history in range(n):
        yield GATE
        dice = random.Random(f"{history}.{me}")
        for _ in range(EVENTS):
            yield partial(_do, state, f"history {history}", *choose(dice))


def any_operation(dice: random.Random) -> tuple[str, Any]:
    operation = dice.choice(
        ["get", "set", "add", "delete", "inc", "inc", "update", "compare_and_set"]
    )
    # Few values, so that they meet; one that is not a number, so that counters meet it.
    value = dice.choice([1, 2, 3, "text"])
    if operation == "inc":
        return operation, Inc(delta=dice.choice([1, -2]), initial=10, maximum=dice.choice([12, 99]))
    if operation == "update":
        return operation, Update(_change, default=5)
    if operation == "compare_and_set":
        return operation, CompareAndSet(dice.choice([1, 2, "text", MISSING]), value)
    return operation, value if operation in ("set", "add") else None


def inc_or_set(dice: random.Random) -> tuple[str, Any]:
    """What cachelib has, too."""
    return ("set", dice.randrange(100)) if dice.random() < 0.2 else ("inc", Inc())


def _change(value: Any) -> Any:
    return "text" if value == 3 else 3 if value == "text" else value + 7


def _do(state: Any, key: str, operation: str, argument: Any) -> tuple[str, str, Any, Any]:
    try:
        result = _DO[operation](state, key, argument)
    except SharedStateError as error:
        result = Raised(type(error).__name__)
    return key, operation, argument, result


def _inc(state: Any, key: str, inc: Inc) -> int:
    # Only what is asked for, as cachelib's knows no bounds.
    options = {
        name: asked for name, asked in inc._asdict().items() if asked != getattr(Inc(), name)
    }
    return state.inc(key, **options)


_DO: dict[str, Callable[[Any, str, Any], Any]] = {
    "get": lambda state, key, _: state.get(key, MISSING),
    "set": lambda state, key, value: state.set(key, value) is not False,
    "add": lambda state, key, value: state.add(key, value),
    "delete": lambda state, key, _: state.delete(key),
    "inc": _inc,
    "update": lambda state, key, update: state.update(key, update.change, default=update.default),
    "compare_and_set": lambda state, key, swap: state.compare_and_set(
        key, ABSENT if swap.expected is MISSING else swap.expected, swap.value
    ),
}


def histories(answers: list[Answer]) -> list[list[Event]]:
    by_key = defaultdict(list)
    for worker, (key, *event), started, ended in answers:
        by_key[key].append(Event(worker, *event, started, ended))
    return list(by_key.values())


@pytest.mark.parametrize(
    "backend, kind",
    [
        pytest.param(backend, kind, id=f"{kind}-{backend.id}")
        for kind in ("threads", "forked", "greenlets")
        for backend in BACKENDS
        if can(backend, kind)
    ],
)
def test_linearizable(backend: Backend, kind: str, cache_settings: Settings) -> None:
    """Mixed operations on one key happen one at a time, in an order that agrees with real time."""
    open_state = partial(State.from_settings, cache_settings)
    n = SLOW_HISTORIES if backend.slow else HISTORIES
    work = partial(mixed, choose=any_operation, n=n)
    outcome = crowd.run(kind, open_state, work, WORKERS, partial(_values, n=n))
    found = histories(outcome.answers)
    assert len(found) == n
    for i, history in enumerate(found):
        assert linearizable([*history, _at_the_end(outcome, i)], one_key)


def _values(state: Any, n: int) -> list[Any]:
    return [state.get(f"history {i}", MISSING) for i in range(n)]


def _at_the_end(outcome: Outcome, i: int) -> Event:
    """What was found is one more event, after all others."""
    end = max(answer.ended for answer in outcome.answers)
    return Event("the end", "get", None, outcome.found[i], end, math.nextafter(end, math.inf))


@pytest.mark.parametrize("kind", ["threads", "forked"])
def test_linearizable_control(kind: str, tmp_path: Path) -> None:
    """Histories of get-then-set are not all linearizable."""
    work = partial(mixed, choose=inc_or_set)
    runs = (
        crowd.run(kind, each, work, WORKERS, partial(_values, n=HISTORIES))
        for each in controls(kind, tmp_path)
    )
    assert not all(
        linearizable(history, one_key) for run in runs for history in histories(run.answers)
    )


@pytest.mark.parametrize(
    "backend",
    [pytest.param(backend, id=backend.id) for backend in BACKENDS if backend.scope != "process"],
)
def test_lock_of_a_dead_holder(backend: Backend, cache_settings: Settings) -> None:
    """The lock of a process that died comes free when its lease ends, and not before."""
    lease = 0.1
    began = time.monotonic()
    fence = crowd.in_child(_acquire_and_die, cache_settings, lease)
    state = State.from_settings(cache_settings)
    with state.lock("l", lease=lease, wait=30) as lock:
        waited = time.monotonic() - began
        assert lock.fence > fence
    state.close()
    # A server may round to its own tick, and its clock is not this one.
    assert waited >= lease - 0.01


def _acquire_and_die(settings: Settings, lease: float) -> int:
    return State.from_settings(settings).lock("l", lease=lease).acquire().fence
