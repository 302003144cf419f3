"""Stores that stand before another one."""

from .breaker import Breaker
from .observed import Observed

__all__ = ["Breaker", "Observed"]
