"""A part of a store: how keys, values and timeouts are put there, and what makes room for them."""

from .keyspace import ABOUT_A_KEY, MAX_VALUE_BYTES, Item, Keyspace, version

__all__ = ["ABOUT_A_KEY", "MAX_VALUE_BYTES", "Item", "Keyspace", "version"]
