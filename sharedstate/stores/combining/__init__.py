"""A store before another one: operations that wait for it at the same time are done together."""

from .combining import Combining

__all__ = ["Combining"]
