"""What redis-py's errors are to the callers of the store, in short messages without secrets."""

from __future__ import annotations

import re

from ...errors import (
    NotACounter,
    NotSerializable,
    OutOfBounds,
    ResultTooLarge,
    SharedStateError,
    StoreFull,
    StoreUnavailable,
)
from ..operations import NO_COUNTER, Batch, Increment, Once, Operation
from ..support.drivers import import_driver

_LOGIN = (
    "set CACHE_REDIS_PASSWORD, and CACHE_REDIS_USERNAME where the server has users, or write them "
    "into the URL"
)
_SENTINELS_LOGIN = "set CACHE_REDIS_SENTINEL_PASSWORD"
_PERMISSION = "let the user run it, as by ACL SETUSER, or use another CACHE_REDIS_USERNAME"

# Where redis-py has put the server's words into an error of another class, as a cluster's.
_NOT_LOGGED_IN = re.compile("HELLO must be called|NOAUTH|WRONGPASS|username-password pair")


def explained(error: Exception, operation: Operation | None, location: str) -> SharedStateError:
    """The library's error for one of redis-py's.

    :param operation: what was done when it came; ``None`` for what changes nothing.
    """
    errors, text = import_driver("redis").exceptions, str(error)
    if isinstance(error, errors.OutOfMemoryError):
        return StoreFull(f"Redis at {location} is full: {text}")
    if isinstance(error, errors.NoPermissionError):
        return StoreUnavailable(f"Redis at {location} refuses: {text}", remedy=_PERMISSION)
    if isinstance(error, errors.ResponseError):
        refused = _refused(operation, text)
        if refused:
            return refused
    if "No master found" in text:
        return _no_master(location, text)
    if isinstance(error, errors.AuthenticationError) or _NOT_LOGGED_IN.search(text):
        return StoreUnavailable(
            f"Redis at {location} wants a password, or another one", remedy=_LOGIN
        )
    writes = operation is not None and operation.writes
    return StoreUnavailable(
        f"Redis at {location} is not available: {text}", outcome_unknown=writes and _was_sent(error)
    )


def _refused(operation: Operation | None, text: str) -> SharedStateError | None:
    """What an error reply says of the operation it is about; in a batch it names the position."""
    if isinstance(operation, Once):
        operation = operation.increment
    if isinstance(operation, Batch) and (failed := re.search(r"operation (\d+)", text)):
        step = int(failed[1]) - 1
        if "ResultTooLarge" in text:
            error: SharedStateError | None = ResultTooLarge(operation.max_bytes or 0)
        else:
            error = _refusal(operation.steps[step][1], text)
        if error is not None:
            error.step = step
        return error
    return _refusal(operation, text)


def _refusal(operation: Operation | None, text: str) -> SharedStateError | None:
    if isinstance(operation, Increment):
        if "overflow" in text or "OutOfBounds" in text:
            return OutOfBounds(operation.minimum, operation.maximum)
        if re.search("NotACounter|not an integer|WRONGTYPE", text):
            return NotACounter(NO_COUNTER)
    elif "WRONGTYPE" in text:
        return NotSerializable("the key holds a Redis type that is not a string")
    return None


def _no_master(location: str, text: str) -> StoreUnavailable:
    """The error where no Sentinel names a master; redis-py's has each client with its options."""
    if "Authentication" in text:
        return StoreUnavailable(
            f"the Sentinels of {location} want a password, or another one", remedy=_SENTINELS_LOGIN
        )
    if " - " in text:
        return StoreUnavailable(f"none of the Sentinels of {location} responded")
    return StoreUnavailable(f"the Sentinels of {location} know no master of this name that is up")


def _was_sent(error: Exception) -> bool:
    """Whether a command may have reached the server before the error."""
    errors = import_driver("redis").exceptions
    is_lost = isinstance(error, (errors.ConnectionError, errors.TimeoutError))
    return is_lost and "connecting to" not in str(error)
