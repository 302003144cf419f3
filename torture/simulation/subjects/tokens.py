"""``once=`` tokens: each is applied one time, whatever was repeated, by whom, and when."""

from __future__ import annotations

from collections import defaultdict

from sharedstate import State, StoreUnavailable

from ..simulation import Simulation, Subject

CLIENTS = 3
TOKENS = 6


class Tokens(Subject):
    """Clients increment by tokens that others use as well, and repeat what has failed."""

    def run(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.numbers: dict[str, set[int]] = defaultdict(set)
        simulation.each(CLIENTS, self.client, threads=2)
        number = self.repeated(simulation.state(), "last")
        begun = len(self.numbers)
        simulation.check(number <= begun, f"{begun} tokens have counted to {number}")
        known = [number for numbers in self.numbers.values() for number in numbers]
        simulation.check(len(known) == len(set(known)), f"a number twice: {sorted(known)}")

    def client(self, state: State, name: str) -> None:
        for _ in range(TOKENS):
            token = f"token {int(self.simulation.random() * TOKENS)}"
            self.repeated(state, token)
            self.simulation.sleep(self.simulation.random())

    def repeated(self, state: State, token: str) -> int:
        """The number of a token, however often it takes to get it."""
        self.numbers[token]  # It may be applied from now on.
        while True:
            try:
                number = self.increment(state, token)
            except StoreUnavailable:
                self.simulation.sleep(self.simulation.random() * 0.5)
                continue
            self.numbers[token].add(number)
            several = f"{token} has the numbers {sorted(self.numbers[token])}"
            self.simulation.check(len(self.numbers[token]) == 1, several)
            return number

    def increment(self, state: State, token: str) -> int:
        """Increment by a token, once."""
        return state.inc("visits", once=token)
