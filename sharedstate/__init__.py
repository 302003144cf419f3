"""State that every Flask request shares, exactly."""

from .cache import Cache
from .errors import (
    ConfigurationError,
    Deadlock,
    InvalidKey,
    LockLost,
    LockTimeout,
    NotACounter,
    NotSerializable,
    NotSupported,
    OutOfBounds,
    Overloaded,
    ResultTooLarge,
    SharedStateError,
    StoreFull,
    StoreUnavailable,
    TokenReused,
    ValueTooLarge,
)
from .jobs import Leader
from .keyspace import Item
from .keyspace.arguments import ABSENT
from .limits import Allowance
from .locks.lock import Lock
from .locks.semaphore import Semaphore
from .objects import Counter, Handle, SharedDict, shared
from .state import Batch, State

__all__ = [
    "ABSENT",
    "Allowance",
    "Batch",
    "Cache",
    "ConfigurationError",
    "Counter",
    "Deadlock",
    "Handle",
    "InvalidKey",
    "Item",
    "Leader",
    "Lock",
    "LockLost",
    "LockTimeout",
    "NotACounter",
    "NotSerializable",
    "NotSupported",
    "OutOfBounds",
    "Overloaded",
    "ResultTooLarge",
    "Semaphore",
    "SharedDict",
    "SharedStateError",
    "State",
    "StoreFull",
    "StoreUnavailable",
    "TokenReused",
    "ValueTooLarge",
    "shared",
]

__version__ = "0.1.0"
