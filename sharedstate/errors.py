"""Everything the library raises on purpose.

* :exc:`SharedStateError`

  * :exc:`InvalidKey`
  * :exc:`NotSerializable`
  * :exc:`ValueTooLarge`
  * :exc:`ResultTooLarge`
  * :exc:`NotACounter`
  * :exc:`OutOfBounds`
  * :exc:`TokenReused`
  * :exc:`LockTimeout`

    * :exc:`Deadlock`

  * :exc:`LockLost`
  * :exc:`StoreUnavailable`

    * :exc:`Overloaded`

  * :exc:`StoreFull`
  * :exc:`NotSupported`
  * :exc:`ConfigurationError`

An operation that raises has changed nothing, with one exception: a write that ends in
:exc:`StoreUnavailable` after it was sent to a server may or may not have been applied; its
``outcome_unknown`` is then true.
"""

from __future__ import annotations


class SharedStateError(Exception):
    """The root of the tree: whatever the library raises on purpose.

    :ivar step: in a batch, the position, from 0, of the operation that raised it.
    :ivar key: the key that it is about, as the caller has it; the message names it.
    """

    step: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        text = super().__str__()
        if self.key is None:
            return text
        named = f"the key {self.key!r}"
        return f"{named}{text[7:]}" if text.startswith("the key ") else f"{named}: {text}"


class InvalidKey(SharedStateError, ValueError):
    """The key is not one that every store can hold."""


class NotSerializable(SharedStateError, TypeError):
    """The value cannot be stored, or what is stored cannot be read, by the codec in use."""


class ValueTooLarge(SharedStateError, ValueError):
    """The encoded value is longer than ``CACHE_MAX_VALUE_BYTES``, or than a server allows.

    :ivar size: its bytes.
    :ivar limit: how many are allowed.
    """

    def __init__(self, size: int, limit: int, bound: str = "CACHE_MAX_VALUE_BYTES") -> None:
        super().__init__(f"the encoded value has {size:,} bytes; {bound} allows {limit:,}")
        self.size = size
        self.limit = limit


class ResultTooLarge(SharedStateError, ValueError):
    """The values that a batch would return are longer together than the caller allows.

    Nothing of the batch was done. Its ``step`` is the operation at which they are.

    :ivar limit: how many bytes are allowed.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the values that the batch reads are longer than {limit:,} bytes together; "
            "read fewer at a time"
        )
        self.limit = limit


class NotACounter(SharedStateError, TypeError):
    """The key holds something other than a signed 64-bit integer; it stays as it is."""


class OutOfBounds(SharedStateError, ArithmeticError):
    """The sum lies outside the bounds; the counter stays as it is.

    :ivar minimum: the lowest number that is allowed.
    :ivar maximum: the highest.
    """

    def __init__(self, minimum: int, maximum: int) -> None:
        super().__init__(
            f"the counter would leave its bounds {minimum} to {maximum}; it was not changed"
        )
        self.minimum = minimum
        self.maximum = maximum


class TokenReused(SharedStateError, ValueError):
    """A ``once`` token came again with another increment than its first one."""


class LockTimeout(SharedStateError, TimeoutError):
    """The lock was held by others for as long as the caller wanted to wait."""


class Deadlock(LockTimeout):
    """The caller itself holds what it would wait for, so that waiting could not end well."""


class LockLost(SharedStateError):
    """The lease ended before the holder renewed or released the lock.

    Another client may hold the lock now, or have held it meanwhile.
    """


class StoreUnavailable(SharedStateError):
    """The store did not respond in time, or cannot be used.

    :ivar outcome_unknown: whether a write had been sent, so that it may have been applied.
    :ivar remedy: what to do about it, where that is known; it is part of the message.
    """

    def __init__(
        self, message: str, *, outcome_unknown: bool = False, remedy: str | None = None
    ) -> None:
        super().__init__(f"{message}: {remedy}" if remedy else message)
        self.outcome_unknown = outcome_unknown
        self.remedy = remedy


class Overloaded(StoreUnavailable):
    """More operations wait for the store, or for the same key, than it does in time.

    This one was not done.
    """


class StoreFull(SharedStateError):
    """There is no room for the write; nothing that was stored before is lost."""


class NotSupported(SharedStateError):
    """This store cannot do this operation exactly, and so does not do it at all."""


class ConfigurationError(SharedStateError, ValueError):
    """A setting is missing or wrong; the message names it and says what would be right."""
