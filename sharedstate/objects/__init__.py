"""Objects whose state is in the store: any class's, counters, dictionaries."""

from .counter import Counter
from .dictionary import SharedDict
from .handle import Handle
from .of_cache import Objects
from .proxy import shared

__all__ = ["Counter", "Handle", "Objects", "SharedDict", "shared"]
