"""What a store can be asked to do to its records, as pure functions.

A record is what a key holds: ``(value, expires)``, its bytes and the time at which it ends
(``NEVER`` for one that stays). An operation takes the present records of its keys, ``None`` for a
key without a live one, and returns their next records and a result::

    records, result = operation(records, now)

A record that comes back as the same object is left alone; ``None`` removes it. Operations run no
code of the caller's, so a store may call them inside its transaction; and they are data, so a
store with a server may translate them into what the server does natively.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from ..errors import NotACounter, OutOfBounds, ResultTooLarge, SharedStateError, TokenReused

Record = tuple[bytes, float]
Records = Sequence[Record | None]

NEVER: Final = float("inf")
KEEP: Final = -1.0
"""As a timeout: leave the expiry of a record that exists as it is."""

COUNTER_MIN: Final = -(2**63)
COUNTER_MAX: Final = 2**63 - 1

NO_COUNTER: Final = (
    "the key holds something other than a signed 64-bit integer; set it to one, or delete it"
)

ONCE_SECONDS: Final = 24 * 3600.0


def parse_counter(value: bytes) -> int:
    """The number that a record holds.

    :raises NotACounter: if it is not a signed 64-bit integer.
    """
    try:
        number = int(value)
    except ValueError:
        number = COUNTER_MAX + 1
    if COUNTER_MIN <= number <= COUNTER_MAX:
        return number
    raise NotACounter(NO_COUNTER)


def expiry(timeout: float, now: float) -> float:
    """The time at which a record ends that is stored now, for ``timeout`` seconds; 0: for ever."""
    return now + timeout if timeout else NEVER


class Operation(ABC):
    """A pure function of records; its attributes are its arguments."""

    __slots__ = ()
    writes: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, records: Records, now: float) -> tuple[Records, Any]:
        """Return the next records, in the same order, and the result."""


@dataclass(slots=True, eq=False)
class Get(Operation):
    """Returns the record; for reading in the middle of a batch."""

    writes: ClassVar[bool] = False

    def __call__(self, records: Records, now: float) -> tuple[Records, Record | None]:
        return records, records[0]


@dataclass(slots=True, eq=False)
class Put(Operation):
    """Stores a value, whatever was there."""

    value: bytes
    timeout: float

    def __call__(self, records: Records, now: float) -> tuple[Records, Any]:
        return ((self.value, expiry(self.timeout, now)),), None


@dataclass(slots=True, eq=False)
class Exchange(Put):
    """Stores a value and returns the one that was there."""

    def __call__(self, records: Records, now: float) -> tuple[Records, bytes | None]:
        (old,) = records
        return ((self.value, expiry(self.timeout, now)),), old and old[0]


@dataclass(slots=True, eq=False)
class Add(Put):
    """Stores a value where there is none, and returns whether it did."""

    def __call__(self, records: Records, now: float) -> tuple[Records, bool]:
        if records[0] is not None:
            return records, False
        return ((self.value, expiry(self.timeout, now)),), True


@dataclass(slots=True, eq=False)
class Remove(Operation):
    """Removes the record and returns whether there was one."""

    def __call__(self, records: Records, now: float) -> tuple[Records, bool]:
        return (None,), records[0] is not None


@dataclass(slots=True, eq=False)
class Touch(Operation):
    """Sets the expiry of a record and returns whether there is one."""

    timeout: float

    def __call__(self, records: Records, now: float) -> tuple[Records, bool]:
        (old,) = records
        if old is None:
            return records, False
        return ((old[0], expiry(self.timeout, now)),), True


@dataclass(slots=True, eq=False)
class Swap(Operation):
    """Compare-and-swap: replaces the value if it is still ``expected``, byte for byte.

    ``None`` as the expected or the new value means that there is no record. Returns whether it
    swapped, and the value that it found.
    """

    expected: bytes | None
    value: bytes | None
    timeout: float
    default_timeout: float
    """That of a record which this creates although ``timeout`` is ``KEEP``."""

    def __call__(self, records: Records, now: float) -> tuple[Records, tuple[bool, bytes | None]]:
        (old,) = records
        found = None if old is None else old[0]
        if found != self.expected:
            return records, (False, found)
        if self.value is None:
            return (None,), (True, found)
        if self.timeout != KEEP:
            expires = expiry(self.timeout, now)
        else:
            expires = expiry(self.default_timeout, now) if old is None else old[1]
        return ((self.value, expires),), (True, found)


@dataclass(slots=True, eq=False)
class Increment(Operation):
    """Adds to a counter within its bounds, and returns the new number.

    One object may be used any number of times.
    """

    delta: int
    initial: int = 0
    """What a missing counter starts from."""
    timeout: float = 0
    """That of a counter which this creates."""
    minimum: int = COUNTER_MIN
    maximum: int = COUNTER_MAX

    def __call__(self, records: Records, now: float) -> tuple[Records, int]:
        (old,) = records
        if old is None:
            number, expires = self.initial, expiry(self.timeout, now)
        else:
            number, expires = parse_counter(old[0]), old[1]
        number += self.delta
        if not self.minimum <= number <= self.maximum:
            raise OutOfBounds(self.minimum, self.maximum)
        return ((b"%d" % number, expires),), number


@dataclass(slots=True, eq=False)
class Once(Operation):
    """An increment that one token applies one time, on the records ``(token's, counter's)``.

    Returns the number, and whether it is the result of a former call. An increment that is refused
    leaves no trace: its token can come again.
    """

    increment: Increment
    fingerprint: bytes
    """What the token is for: the key and the increment."""

    def __call__(self, records: Records, now: float) -> tuple[Records, tuple[int, bool]]:
        token, counter = records
        if token is not None:
            return records, (self.replay(token[0]), True)
        (counter,), number = self.increment((counter,), now)
        return ((self.memo(number), now + ONCE_SECONDS), counter), (number, False)

    def memo(self, number: int) -> bytes:
        """What the token's record holds after the increment."""
        return b"%d %s" % (number, self.fingerprint)

    def replay(self, memo: bytes) -> int:
        """The result in a token's record.

        :raises TokenReused: if the token was for something else.
        """
        number, fingerprint = memo.split(b" ", 1)
        if fingerprint != self.fingerprint:
            raise TokenReused("this once token was used before, with another key or increment")
        return int(number)


class Budget:
    """How many bytes may still be returned.

    :param limit: how many in all; ``None``: any number.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self, size: int, step: int | None = None) -> None:
        """Take so many bytes out of it for a step.

        :raises ResultTooLarge: if it has fewer; names the step.
        """
        self.spent += size
        if self.limit is not None and self.spent > self.limit:
            error = ResultTooLarge(self.limit)
            error.step = step
            raise error


@dataclass(slots=True, eq=False)
class Batch(Operation):
    """Several operations in their order, all of them or none; returns a list of their results.

    :param steps: pairs of a position among the records and the operation on that record.
    :param max_bytes: how long the values that its :class:`Get` return may be together, each
        counted as often as it is returned; :exc:`ResultTooLarge` otherwise.
    :param divisible: whether a store that cannot do them in one step may do them one by one.
    """

    steps: Sequence[tuple[int, Operation]]
    max_bytes: int | None = None
    divisible: bool = False

    def __call__(self, records: Records, now: float) -> tuple[Records, list[Any]]:
        present = list(records)
        results = []
        budget = Budget(self.max_bytes)
        for step, (position, operation) in enumerate(self.steps):
            try:
                (present[position],), result = operation((present[position],), now)
                if type(operation) is Get and result is not None:
                    budget.spend(len(result[0]))
            except SharedStateError as error:
                error.step = step
                raise
            results.append(result)
        return present, results


@dataclass(slots=True, eq=False)
class Each(Operation):
    """Several operations in their order, of different callers: each is done or refused by itself.

    Returns a list of their results. That of an operation which is refused is its error; the others
    are done all the same.

    :param steps: pairs of the positions of an operation's records, and the operation.
    """

    steps: Sequence[tuple[Sequence[int], Operation]]

    def __call__(self, records: Records, now: float) -> tuple[Records, list[Any]]:
        present = list(records)
        results = []
        for positions, operation in self.steps:
            try:
                if len(positions) == 1:
                    (place,) = positions
                    (present[place],), result = operation((present[place],), now)
                else:
                    after, result = operation([present[place] for place in positions], now)
                    for place, record in zip(positions, after, strict=True):
                        present[place] = record
            except SharedStateError as error:
                result = error
            results.append(result)
        return present, results
