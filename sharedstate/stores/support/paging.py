"""Pages of keys, in stores that find their records in the order of the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..base import Page, cursor_key, key_range

Rows = Sequence[tuple[bytes, float | None]]

_ROWS_A_PAGE = 5000
_GROWTH = 4


def ordered_page(
    fetch: Callable[[bytes, bytes, int], Rows],
    prefix: bytes,
    cursor: str | None,
    limit: int,
    now: float,
) -> Page:
    """See :meth:`Store.page`; looks at ``limit`` and 5,000 rows at most, expired ones included.

    Where most have expired a page may have fewer keys than ``limit``, and a cursor all the same.

    :param fetch: returns the first rows with ``first <= key < end``, in the order of their keys and
        a given number at most: their keys and expiries, ``None`` for those that stay.
    """
    first, end = key_range(prefix)
    if cursor:
        first = max(first, cursor_key(cursor) + b"\0")
    keys: list[bytes] = []
    most = limit + _ROWS_A_PAGE
    count = limit
    while True:
        rows = fetch(first, end, count)
        keys += [key for key, expires in rows if expires is None or expires > now]
        most -= count
        if len(keys) >= limit:
            return keys[:limit], keys[limit - 1].hex()
        if len(rows) < count:
            return keys, None
        last = rows[-1][0]
        if most <= 0:
            return keys, last.hex()
        first = last + b"\0"
        count = min(_GROWTH * count, most)
