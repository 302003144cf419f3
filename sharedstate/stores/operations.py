"""What a store can be asked to do to its records, as pure functions.

A record is what a key holds: ``(value, expires)``, its bytes and the time at which it ends
(``NEVER`` for one that stays). An operation takes the present records of its keys, ``None`` for a
key without a live one, and answers with their next records and a result::

    records, answer = operation(records, now)

A record that comes back as the same object is left alone; ``None`` removes it. Operations run no
code of the caller's, so a store may call them inside its transaction; and they are data, so a
store with a server may translate them into what the server does natively.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
    """The number that a record holds, or :exc:`NotACounter`."""
    try:
        number = int(value)
    except ValueError:
        number = COUNTER_MAX + 1
    if COUNTER_MIN <= number <= COUNTER_MAX:
        return number
    raise NotACounter(NO_COUNTER)


def expiry(timeout: float, now: float) -> float:
    """When a record that lives for ``timeout`` seconds, 0 for ever, ends."""
    return now + timeout if timeout else NEVER


class Operation(ABC):
    """A pure function of records; its attributes are its arguments."""

    __slots__ = ()
    writes: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, records: Records, now: float) -> tuple[Records, Any]:
        """The next records, in the same order, and the answer."""


class Get(Operation):
    """Answers the record; for reading in the middle of a batch."""

    __slots__ = ()
    writes = False

    def __call__(self, records: Records, now: float) -> tuple[Records, Record | None]:
        return records, records[0]


class Put(Operation):
    """Stores a value, whatever was there."""

    __slots__ = ("timeout", "value")

    def __init__(self, value: bytes, timeout: float) -> None:
        self.value = value
        self.timeout = timeout

    def __call__(self, records: Records, now: float) -> tuple[Records, Any]:
        return ((self.value, expiry(self.timeout, now)),), None


class Exchange(Put):
    """Stores a value and answers the one that was there."""

    __slots__ = ()

    def __call__(self, records: Records, now: float) -> tuple[Records, bytes | None]:
        (old,) = records
        return ((self.value, expiry(self.timeout, now)),), old and old[0]


class Add(Put):
    """Stores a value where there is none, and answers whether it did."""

    __slots__ = ()

    def __call__(self, records: Records, now: float) -> tuple[Records, bool]:
        if records[0] is not None:
            return records, False
        return ((self.value, expiry(self.timeout, now)),), True


class Remove(Operation):
    """Removes the record and answers whether there was one."""

    __slots__ = ()

    def __call__(self, records: Records, now: float) -> tuple[Records, bool]:
        return (None,), records[0] is not None


class Touch(Operation):
    """Sets the expiry of a record and answers whether there is one."""

    __slots__ = ("timeout",)

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    def __call__(self, records: Records, now: float) -> tuple[Records, bool]:
        (old,) = records
        if old is None:
            return records, False
        return ((old[0], expiry(self.timeout, now)),), True


class Swap(Operation):
    """Compare-and-swap: replaces the value if it is still ``expected``, byte for byte.

    ``None`` as the expected or the new value means that there is no record. Answers whether it
    swapped, and the value it found. ``default_timeout`` is that of a record which this creates
    although ``timeout`` is ``KEEP``.
    """

    __slots__ = ("default_timeout", "expected", "timeout", "value")

    def __init__(
        self, expected: bytes | None, value: bytes | None, timeout: float, default_timeout: float
    ) -> None:
        self.expected = expected
        self.value = value
        self.timeout = timeout
        self.default_timeout = default_timeout

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


class Increment(Operation):
    """Adds to a counter within its bounds; a missing one starts from ``initial``."""

    __slots__ = ("delta", "initial", "maximum", "minimum", "timeout")

    def __init__(
        self,
        delta: int,
        initial: int = 0,
        timeout: float = 0,
        minimum: int = COUNTER_MIN,
        maximum: int = COUNTER_MAX,
    ) -> None:
        self.delta = delta
        self.initial = initial
        self.timeout = timeout
        self.minimum = minimum
        self.maximum = maximum

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


class Once(Operation):
    """An increment that one token applies one time, on the records ``(token's, counter's)``.

    Answers the number, and whether it is a former call's answer. An increment that is refused
    leaves no trace: its token can come again.
    """

    __slots__ = ("fingerprint", "increment")

    def __init__(self, increment: Increment, fingerprint: bytes) -> None:
        self.increment = increment
        self.fingerprint = fingerprint

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
        """The answer in a token's record, or :exc:`TokenReused` if it was for something else."""
        number, fingerprint = memo.split(b" ", 1)
        if fingerprint != self.fingerprint:
            raise TokenReused("this once token was used before, with another key or increment")
        return int(number)


class Budget:
    """How many bytes may still be answered.

    :param limit: how many in all; ``None``: any number.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.spent = 0

    def spend(self, size: int, step: int | None = None) -> None:
        """Take so many bytes out of it for a step; :exc:`ResultTooLarge` if it is overdrawn."""
        self.spent += size
        if self.limit is not None and self.spent > self.limit:
            error = ResultTooLarge(self.limit)
            error.step = step
            raise error


class Batch(Operation):
    """Several operations in their order, all of them or none.

    :param steps: pairs of a position among the records and the operation on that record.
    :param max_bytes: how long the values that its :class:`Get` answer may be together, each
        counted as often as it is answered; :exc:`ResultTooLarge` otherwise.
    """

    __slots__ = ("max_bytes", "steps")

    def __init__(
        self, steps: Sequence[tuple[int, Operation]], max_bytes: int | None = None
    ) -> None:
        self.steps = steps
        self.max_bytes = max_bytes

    def __call__(self, records: Records, now: float) -> tuple[Records, list[Any]]:
        present = list(records)
        answers = []
        budget = Budget(self.max_bytes)
        for step, (position, operation) in enumerate(self.steps):
            try:
                (present[position],), answer = operation((present[position],), now)
                if type(operation) is Get and answer is not None:
                    budget.spend(len(answer[0]))
            except SharedStateError as error:
                error.step = step
                raise
            answers.append(answer)
        return present, answers
