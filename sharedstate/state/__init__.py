"""The contract: every operation on shared state, on any store."""

from .state import State

__all__ = ["State"]
