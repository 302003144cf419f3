"""Clients of one database that meet at the same rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import crowd
import pytest
from database_servers import (
    TABLE,
)
from databases import (
    SECONDS,
    client_of,
    inc_each,
    number_of,
    result_of,
    state_at,
    until_one_waits,
)

from race.judging.checkers import exactly_one_to
from sharedstate import State
from sharedstate.stores.operations import NEVER, Operation

KEYS = [f"k{i}" for i in range(8)]
ROUNDS = 15


def _inc_all(state: State, me: int) -> Generator[Any, Any, None]:
    keys = KEYS if me % 2 else KEYS[::-1]
    for _ in range(ROUNDS):
        yield partial(state.inc_many, dict.fromkeys(keys, 1))


def _work_each(state: State, me: int) -> Iterator[Callable[[], Any]]:
    keys = KEYS if me % 2 else KEYS[::-1]
    for _ in range(ROUNDS):
        yield partial(inc_each, state, keys)


@pytest.mark.slow
@pytest.mark.parametrize("exist", [False, True], ids=["missing", "existing"])
@pytest.mark.parametrize("work", [_inc_all, _work_each], ids=["batch", "each"])
def test_batches_in_opposite_orders(server_url: str, exist: bool, work: Any) -> None:
    """Batches of the same keys in opposite orders are exact, and those of existing ones orderly."""
    if exist:
        state = state_at(server_url)
        state.set_many(dict.fromkeys(KEYS, 0))
        state.close()
    before = _deadlocks(server_url)
    outcome = crowd.run("forked", partial(state_at, server_url), work, 6, _get_all)
    for key in KEYS:
        assert exactly_one_to([call.result[key] for call in outcome.answers], 6 * ROUNDS)
    assert outcome.found == [6 * ROUNDS] * len(KEYS)
    if exist:
        assert _deadlocks(server_url) == before


def _get_all(state: State) -> list[Any]:
    return state.get_many(*KEYS)


def _deadlocks(url: str) -> Any:
    with client_of(url) as execute:
        if url.startswith("postgresql"):
            return execute("SELECT SUM(deadlocks) FROM pg_stat_database")
        return execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")


class TestMissingRows:
    """A client that waits for one row learns what was inserted meanwhile beside it."""

    @pytest.mark.parametrize("kind", ["once", "batch", "each"])
    def test_inserted_while_waiting(self, server_url: str, kind: str) -> None:
        """Neither a repeat near a bound nor a batch decides by a row that it saw as missing."""
        state = state_at(server_url)
        # "!" comes before the counter in the table's order, as tokens do.
        call = {
            "once": lambda: state.inc("n", maximum=1, once="token"),
            "batch": lambda: state.inc_many({"!": -1, "n": -1}, minimum=0),
            "each": lambda: inc_each(state, ["!", "n"], -1),
        }[kind]
        if kind == "once":
            call()
        else:
            state.set_many({"!": 5, "n": 5})
        returned: list[Any] = []
        with client_of(server_url) as execute:
            after = execute(f"SELECT name, value, number, expires FROM {TABLE}")
            fresh = next(row for row in after if row[0] != b"test:n")
            number = next(row[2] for row in after if row[0] == b"test:n")
            execute(f"DELETE FROM {TABLE} WHERE name = %s", (fresh[0],))
            execute(f"UPDATE {TABLE} SET number = 0 WHERE name = %s", (b"test:n",))
            execute("BEGIN")
            execute(f"UPDATE {TABLE} SET number = %s WHERE name = %s", (number, b"test:n"))
            waiter = threading.Thread(target=lambda: returned.append(result_of(call)))
            waiter.start()
            until_one_waits(server_url)
            execute(
                f"INSERT INTO {TABLE} (name, value, number, expires) VALUES (%s, %s, %s, %s)", fresh
            )
            execute("COMMIT")
            waiter.join(SECONDS)
        assert returned == [1 if kind == "once" else {"!": 4, "n": 4}]
        state.close()

    def test_two_that_depend_on_a_missing_row(self, server_url: str) -> None:
        """Of two transactions that each write if the other's row is missing, one writes."""
        states = [state_at(server_url) for _ in "ab"]
        states[0].get("a")  # Makes the table.
        second = WriteIfAlone(1, lambda: None)
        first = WriteIfAlone(0, lambda: states[1].store.transact((b"a", b"b"), second))
        assert not states[0].store.transact((b"a", b"b"), first)
        assert states[0].store.values((b"a", b"b")) == [None, b"1"]
        for state in states:
            state.store.clear(b"")
            state.close()

    @pytest.mark.slow
    def test_parallel_repeats_at_a_bound(self, server_url: str) -> None:
        """Of parallel calls with one token at a bound each returns what the first one did."""
        outcome = crowd.run("forked", partial(state_at, server_url), _repeat, 6, number_of)
        assert outcome.found == TOKENS
        for token in range(TOKENS):
            same = {a.result[1] for a in outcome.answers if a.result[0] == token}
            assert len(same) == 1
        assert {call.result[1] for call in outcome.answers} == set(range(1, TOKENS + 1))


class WriteIfAlone(Operation):
    """Writes one of two records if the other is missing; returns whether it did.

    :param meanwhile: what happens between the first look and the write.
    """

    __slots__ = ("meanwhile", "position")

    def __init__(self, position: int, meanwhile: Callable[[], Any]) -> None:
        self.position = position
        self.meanwhile = meanwhile

    def __call__(self, records: Any, now: float) -> Any:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        if any(records):
            return records, False
        after: list[Any] = [None, None]
        after[self.position] = (b"1", NEVER)
        return after, True


TOKENS = 15


def _repeat(state: State, me: int) -> Generator[Any, Any, None]:
    for token in range(TOKENS):
        yield crowd.GATE
        yield partial(_inc_by_token, state, token)


def _inc_by_token(state: State, token: int) -> tuple[int, Any]:
    return token, result_of(lambda: state.inc("n", maximum=token + 1, once=str(token)))
