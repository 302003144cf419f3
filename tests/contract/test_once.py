"""Functions that run once a period, whoever calls them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import crowd
import pytest
from backends import BACKENDS, CROWDS, GREENLETS, IN_THE_STATE, ONE_OF_EACH_KIND, Clock
from flask import Flask
from get_then_set import chances

from sharedstate import Cache, InvalidKey, LockLost, State
from sharedstate.jobs import Jobs
from sharedstate.jobs.period import Daily

SECONDS = 30  # Guards against a hang, and nothing else.


class Maker(Jobs):
    """As a cache: it has a state."""

    def __init__(self, state: State) -> None:
        self.state = state  # type: ignore[misc]


@pytest.fixture
def advance(state: State, clock: Clock) -> Callable[[float], None]:
    """Lets time pass, for the records and for what looks at the store's clock."""
    now = [1_800_000_000.0]
    if state.store.clock is not clock:
        state.store.clock = lambda: now[0]

    def advance(seconds: float) -> None:
        clock.advance(seconds)
        now[0] += seconds

    return advance


class Job:
    """What runs: says how often it has."""

    def __init__(self) -> None:
        self.runs = 0
        self.before: Callable[[], object] = lambda: None

    def __call__(self) -> int:
        self.runs += 1
        self.before()
        return self.runs


@pytest.fixture
def job() -> Job:
    return Job()


def decorated(state: State, job: Job, **options: Any) -> Callable[[], int | None]:
    @Maker(state).once(**{"every": 100, "name": "job", **options})
    def function() -> int:
        return job()

    return function


@ONE_OF_EACH_KIND
class TestPeriods:
    def test_once_a_period(self, state: State, job: Job, advance: Callable[[float], None]) -> None:
        """The first call of a period runs it, whatever function of its name is called."""
        first, second = decorated(state, job), decorated(state, job)
        assert [first(), first(), second()] == [1, None, None]
        advance(99)
        assert second() is None
        advance(1)
        assert [second(), first()] == [2, None]
        advance(1000)
        assert [first(), first()] == [3, None]

    def test_for_ever(self, state: State, job: Job, advance: Callable[[float], None]) -> None:
        """Every 0 seconds is once for ever."""
        function = decorated(state, job, every=0)
        assert [function(), function()] == [1, None]
        advance(10 * 365 * 24 * 3600)
        assert function() is None

    def test_a_clock_that_is_slow(
        self, state: State, job: Job, advance: Callable[[float], None]
    ) -> None:
        """A period that is done stays so for a host whose clock has not come to it yet."""
        function = decorated(state, job)
        function()
        advance(100)
        assert function() == 2
        ahead = state.store.clock
        state.store.clock = lambda: ahead() - 150
        assert function() is None
        state.store.clock = ahead
        assert function() is None

    def test_daily(self, state: State, job: Job, advance: Callable[[float], None]) -> None:
        """It runs once a day, at the first call after the time of the day."""
        function = decorated(state, job, every=None, at="09:30")  # It is 08:00 now, in UTC.
        assert [function(), function()] == [1, None]
        advance(3600 * 1.5 - 1)
        assert function() is None
        advance(1)
        assert [function(), function()] == [2, None]
        advance(24 * 3600)
        assert function() == 3


@ONE_OF_EACH_KIND
class TestRuns:
    def test_raises(self, state: State, job: Job, advance: Callable[[float], None]) -> None:
        """A run that raised may be tried again in the same period."""
        function = decorated(state, job)

        def fail() -> None:
            raise ZeroDivisionError

        job.before = fail
        with pytest.raises(ZeroDivisionError):
            function()
        job.before = lambda: None
        assert [function(), function()] == [2, None]

    def test_others_return_at_once(self, state: State, job: Job) -> None:
        """While one runs it the others do not wait, and it does not run inside itself."""
        function = decorated(state, job)
        seen: list[int | None] = []

        def call_elsewhere() -> None:
            other = threading.Thread(target=lambda: seen.append(function()))
            other.start()
            other.join(SECONDS)
            seen.append(function())

        job.before = call_elsewhere
        assert function() == 1
        assert seen == [None, None]

    def test_died(self, state: State, job: Job, advance: Callable[[float], None]) -> None:
        """If the process that runs it dies, it can be run when the lease has ended."""
        state.namespace("job").lock("job", lease=60).acquire()
        function = decorated(state, job, every=0)
        assert function() is None
        advance(61)
        assert function() == 1

    def test_between(self, state: State, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        """What another has done between the look and the lock is not done again."""
        first, other = decorated(state, job, every=0), Job()
        values, looks = state.store.values, []

        def look(keys: Any) -> Any:
            found = values(keys)
            if not looks:
                looks.append(keys)
                decorated(state, other, every=0)()
            return found

        monkeypatch.setattr(state.store, "values", look)
        assert first() is None
        assert (job.runs, other.runs) == (0, 1)

    def test_lost(self, state: State, job: Job) -> None:
        """A run that others may have repeated says so, and is done."""
        function = decorated(state, job)
        job.before = lambda: state.namespace("job/lock").delete("job")
        with pytest.raises(LockLost):
            function()
        assert function() is None


class TestFunctions:
    @IN_THE_STATE
    def test_arguments(self, state: State) -> None:
        """The function has its arguments, name and documentation."""

        @Maker(state).once(every=timedelta(hours=1))
        def add(a: int, b: int = 0) -> int:
            """Adds."""
            return a + b

        assert (add(1, b=2), add.__name__, add.__doc__) == (3, "add", "Adds.")
        assert state.namespace("job").has(f"{__name__}.{add.__qualname__}")

    @IN_THE_STATE
    def test_wrong(self, state: State) -> None:
        """What is wrong raises where the function is defined."""
        once = Maker(state).once
        for options in ({}, {"every": 1, "at": "03:30"}, {"at": "3h"}, {"every": -1}):
            with pytest.raises(ValueError):
                once(**options)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'Europe/Berlinn' is known"):
            once(at="03:30", zone="Europe/Berlinn")
        with pytest.raises(ValueError, match="lease"):
            once(every=1, lease=0)(print)
        with pytest.raises(InvalidKey):
            once(every=1, name="a\n")(print)

        async def later() -> None: ...

        with pytest.raises(TypeError, match="after"):
            once(every=1)(later)

    def test_at_module_level(self, job: Job) -> None:
        """It can be made before there is an application, and is that of the current one."""
        cache = Cache()
        function = cache.once(every=0, name="job")(lambda: job())
        apps = [Flask("a"), Flask("b")]
        for app in apps:
            cache.init_app(app, config={"CACHE_TYPE": "simple"})
        for app in apps:
            with app.app_context():
                assert (function() is None, function()) == (False, None)


def number(at: str, zone: Any, *moment: int, fold: int = 0) -> int:
    clock = ZoneInfo(zone) if isinstance(zone, str) else zone
    return Daily(at, zone).number(datetime(*moment, tzinfo=clock, fold=fold).timestamp())


def test_changed_clocks() -> None:
    """A time that is left out is the one after it, and one that comes twice counts once."""
    berlin = "Europe/Berlin"
    day = datetime(2026, 3, 29).toordinal()  # 02:00 is 03:00.
    assert number("02:30", berlin, 2026, 3, 29, 1, 59) == day - 1
    assert number("02:30", berlin, 2026, 3, 29, 3, 0) == day
    day = datetime(2026, 10, 25).toordinal()  # After 02:59 comes 02:00.
    assert number("02:30", berlin, 2026, 10, 25, 2, 29) == day - 1
    assert number("02:30", berlin, 2026, 10, 25, 2, 30) == day
    assert number("02:30", timezone(timedelta(hours=2)), 2026, 10, 25, 2, 30) == day


# The race: eight workers call each of some jobs at the same moment.


def call_once(state: State, me: int, times: int) -> Any:
    for job in range(times):
        yield crowd.GATE
        yield Maker(state).once(every=0, name=f"job {job}")(partial(_run, state, job))


def call_unguarded(state: State, me: int, times: int) -> Any:
    """The negative control: who looks whether it was done, does it, and says so."""
    for job in range(times):
        yield crowd.GATE
        yield partial(_run_unless_done, state, job)


def _run_unless_done(state: State, job: int) -> int | None:
    if state.get(f"done {job}"):
        return None
    number = _run(state, job)
    state.set(f"done {job}", True)
    return number


def _run(state: State, job: int) -> int:
    return state.inc(f"run {job}")


def _runs(state: State, times: int) -> list[int]:
    return [state.get(f"run {job}") for job in range(times)]


@pytest.mark.slow
@pytest.mark.parametrize("backend, kind", CROWDS + GREENLETS)
def test_race(backend: Any, kind: str, race_settings: dict[str, str]) -> None:
    """Each job runs once, on every store, and one caller is told so."""
    open_state = partial(State.from_settings, race_settings)
    outcome = crowd.run(kind, open_state, partial(call_once, times=12), 8, partial(_runs, times=12))
    results = [call.result for call in outcome.answers]
    assert (len(results), results.count(1), results.count(None)) == (96, 12, 84)
    assert outcome.found == [1] * 12


@pytest.mark.slow
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.id == "filesystem"], ids=["files"])
def test_race_control(backend: Any, cache_settings: dict[str, str]) -> None:
    """Looking before it is done runs some more than once."""
    work, look = partial(call_unguarded, times=20), partial(_runs, times=20)
    outcomes = (crowd.run("forked", each, work, 5, look) for each in chances(cache_settings))
    assert any(max(outcome.found) > 1 for outcome in outcomes)
