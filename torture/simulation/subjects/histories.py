"""Every operation on one key: the history is linearizable, whatever became of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from sharedstate import ABSENT, OutOfBounds, State, StoreUnavailable
from torture.judging.key_model import MISSING, CompareAndSet, Inc, Raised, Update, one_key
from torture.judging.linearizability import Event, linearizable

from ..simulation import Simulation, Subject

CLIENTS = 2
OPERATIONS = 8
MAXIMUM = 500


def _doubled(value: int) -> int:
    return 2 * value + 1


CALLS: Mapping[str, Callable[[State, str, Any], Any]] = {
    "get": lambda state, key, _: state.get(key, MISSING),
    "set": lambda state, key, value: state.set(key, value),
    "add": lambda state, key, value: state.add(key, value),
    "delete": lambda state, key, _: state.delete(key),
    "inc": lambda state, key, inc: state.inc(key, inc.delta, maximum=inc.maximum),
    "update": lambda state, key, update: state.update(key, update.change, default=update.default),
    "compare_and_set": lambda state, key, swap: state.compare_and_set(
        key, ABSENT if swap.expected is MISSING else swap.expected, swap.value
    ),
}


class Histories(Subject):
    """Clients do whatever a key can be asked for, and note what they see."""

    calls = CALLS
    keys: tuple[str, ...] = ("k1", "k2")
    operations: tuple[str, ...] = tuple(CALLS)

    def run(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.histories: dict[str, list[Event]] = defaultdict(list)
        self.pending: dict[tuple[str, str], Event] = {}
        simulation.each(CLIENTS, self.client, threads=2)
        reader = simulation.state()
        for key in self.keys:
            self.do(reader, "main", key, "get", None)
        for (_, key), event in self.pending.items():  # Of those that were killed.
            self.histories[key].append(event)
        for key, history in self.histories.items():
            is_linearizable = linearizable(history, one_key)
            simulation.check(is_linearizable, f"the history of {key} is not linearizable")

    def client(self, state: State, name: str) -> None:
        for _ in range(OPERATIONS):
            key, operation, argument = self.choose()
            self.do(state, name, key, operation, argument)
            self.simulation.sleep(self.simulation.random() * 0.3)

    def choose(self) -> tuple[str, str, Any]:
        """A key, an operation and its argument."""
        number = int(self.simulation.random() * 1000)
        arguments: dict[str, Any] = {
            "get": None,
            "set": number,
            "add": number,
            "delete": None,
            "inc": Inc(1 + number % 3, maximum=MAXIMUM if number % 2 else None),
            "update": Update(_doubled, 1),
            "compare_and_set": CompareAndSet(1 + number % 3, number),
        }
        operation = self.operations[int(self.simulation.random() * len(self.operations))]
        key = self.keys[int(self.simulation.random() * len(self.keys))]
        return key, operation, arguments[operation]

    def do(self, state: State, name: str, key: str, operation: str, argument: Any) -> None:
        """Do an operation, and note what became of it."""
        began = self.simulation.now
        self.pending[name, key] = Event(name, operation, argument, None, began, inf)
        try:
            result = self.calls[operation](state, key, argument)
        except OutOfBounds:
            result = Raised("OutOfBounds")
        except StoreUnavailable as error:
            event = self.pending.pop((name, key))
            if error.outcome_unknown:
                self.histories[key].append(event)
            return
        ended = self.simulation.now
        self.simulation.note(f"{operation} of {key} → {result}")
        self.histories[key].append(Event(name, operation, argument, result, began, ended))
        del self.pending[name, key]
