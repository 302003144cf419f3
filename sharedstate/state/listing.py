"""The keys and items of a keyspace, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from ..errors import NotSerializable
from ..keyspace import Item, Keyspace, version
from ..keyspace.arguments import ABSENT, checked_key
from ..stores.operations import Record

_PAGE_KEYS = 1000


def page(
    space: Keyspace, prefix: str, cursor: str | None, limit: int
) -> tuple[list[bytes], str | None]:
    """Up to ``limit`` live keys with a prefix, as the store has them, each once.

    :param cursor: ``None`` to begin, then what the last call returned.
    :returns: the keys, and the next cursor, ``None`` after the last page.
    :raises NotSupported: if the store cannot list its keys.
    """
    space.require("keys", "listing its keys")
    if limit < 1:
        raise ValueError(f"a page has room for at least one item, not {limit}")
    start = checked_key(prefix) if prefix else b""
    keys, following = space.store.page(space.physical_prefix + start, cursor, limit)
    return list(dict.fromkeys(filter(space.is_own, keys))), following


def pages(space: Keyspace, prefix: str) -> Iterator[list[str]]:
    """All live keys with a prefix, as callers have them, page by page.

    :raises NotSupported: if the store cannot list its keys.
    """
    cursor: str | None = None
    while True:
        keys, cursor = page(space, prefix, cursor, _PAGE_KEYS)
        yield list(map(space.text, keys))
        if cursor is None:
            return


def items_page(
    space: Keyspace, prefix: str, cursor: str | None, limit: int, max_bytes: int | None
) -> tuple[list[Item], str | None]:
    """Up to ``limit`` items with a prefix, and the next cursor; see :meth:`State.items`."""
    keys, following = page(space, prefix, cursor, limit)
    fitting = _fitting(space, keys, max_bytes)
    if fitting < len(keys):
        keys, following = page(space, prefix, cursor, fitting)
    records = space.store.read(keys) if keys else []
    pairs = zip(keys, records, strict=True)
    return [_listed(space, key, record) for key, record in pairs if record is not None], following


def _fitting(space: Keyspace, keys: list[bytes], max_bytes: int | None) -> int:
    """How many of the first keys hold at most ``max_bytes`` together, but at least one."""
    if max_bytes is None or len(keys) * space.max_value_bytes <= max_bytes:
        return len(keys)
    sums = accumulate(space.store.sizes(keys))
    return max(sum(size <= max_bytes for size in sums), 1)


def _listed(space: Keyspace, physical: bytes, record: Record) -> Item:
    """The item of a record, with its error if it cannot be read."""
    try:
        key, remaining = space.text(physical), space.remaining(record)
        raw = record[0]
        return Item(key, space.decode(raw, key), remaining, version(raw))
    except NotSerializable as error:
        return Item(key, ABSENT, remaining, version(raw), error)
