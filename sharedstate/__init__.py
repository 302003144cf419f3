"""State that every Flask request shares, exactly."""

from .arguments import ABSENT
from .cache import Cache
from .errors import (
    ConfigurationError,
    InvalidKey,
    LockLost,
    LockTimeout,
    NotACounter,
    NotSerializable,
    NotSupported,
    OutOfBounds,
    SharedStateError,
    StoreFull,
    StoreUnavailable,
    TokenReused,
    ValueTooLarge,
)
from .lock import Lock
from .state import Item, State

__all__ = [
    "ABSENT",
    "Cache",
    "ConfigurationError",
    "InvalidKey",
    "Item",
    "Lock",
    "LockLost",
    "LockTimeout",
    "NotACounter",
    "NotSerializable",
    "NotSupported",
    "OutOfBounds",
    "SharedStateError",
    "State",
    "StoreFull",
    "StoreUnavailable",
    "TokenReused",
    "ValueTooLarge",
]
