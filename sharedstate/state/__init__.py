"""The contract: every operation on shared state, on any store."""

from .batch import Batch
from .state import State

__all__ = ["Batch", "State"]
