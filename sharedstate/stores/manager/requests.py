"""What clients may ask a manager for: what stands in ``_REQUESTS``, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from ..base import Page, Store
from ..operations import Operation, Record
from .operations import load_operation, shifted, shifted_record
from .protocol import BadMessage, unpack

_SHORT_BYTES = 512

Request = Callable[[Store], Any]


def request_from(message: bytes) -> Request:
    """A function of the store that does what the message asks for.

    :raises BadMessage: if it asks for nothing that there is.
    """
    return _known_request(message) if len(message) <= _SHORT_BYTES else _request(message)


def _request(message: bytes) -> Request:
    try:
        name, *arguments = unpack(message)
        return _REQUESTS[name](*arguments)
    except (TypeError, ValueError, KeyError) as error:
        raise BadMessage(f"not a request: {error!r}") from error


# A request is data and mostly one that came before.
_known_request = lru_cache(maxsize=1024)(_request)


def _transact(keys: Any, operation: Any) -> Request:
    checked = _checked_rows(keys)
    return partial(_do_transact, checked, load_operation(operation, len(checked)))


def _do_transact(keys: list[bytes], operation: Operation, store: Store) -> Any:
    return shifted(operation, store.transact(keys, operation), -store.clock())


def _read(keys: Any) -> Request:
    return partial(_do_read, _checked_rows(keys))


def _do_read(keys: list[bytes], store: Store) -> list[Record | None]:
    records, now = store.read(keys), store.clock()
    return [shifted_record(record, -now) for record in records]


def _sizes(keys: Any) -> Request:
    return partial(_do_sizes, _checked_rows(keys))


def _do_sizes(keys: list[bytes], store: Store) -> list[int]:
    return store.sizes(keys)


def _page(prefix: Any, cursor: Any, limit: Any) -> Request:
    (prefix,) = _checked_rows([prefix])
    if not isinstance(cursor, (str, type(None))) or type(limit) is not int or limit < 1:
        raise BadMessage("not a page")
    return partial(_do_page, prefix, cursor, limit)


def _do_page(prefix: bytes, cursor: str | None, limit: int, store: Store) -> Page:
    return store.page(prefix, cursor, limit)


def _clear(prefix: Any) -> Request:
    (prefix,) = _checked_rows([prefix])
    return partial(_do_clear, prefix)


def _do_clear(prefix: bytes, store: Store) -> None:
    store.clear(prefix)


def _ping() -> Request:
    return _do_ping


def _do_ping(store: Store) -> None:
    store.ping()


_REQUESTS: dict[str, Callable[..., Request]] = {
    "transact": _transact,
    "read": _read,
    "sizes": _sizes,
    "page": _page,
    "clear": _clear,
    "ping": _ping,
}


def _checked_rows(keys: Any) -> list[bytes]:
    if type(keys) is list and all(type(key) is bytes for key in keys):
        return keys
    raise BadMessage("keys are bytes")
