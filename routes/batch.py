"""``/v1/batch``: many operations in one request."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app
from werkzeug.exceptions import RequestEntityTooLarge

from common import cache
from service.contract.errors import problem_of
from service.contract.operation import OF_A_WRITE, operation
from service.contract.replies import reply
from service.contract.schemas import Delete, Get, Inc, Operations, Result, Results, Set
from sharedstate import (
    Batch,
    Item,
    NotACounter,
    NotSupported,
    OutOfBounds,
    ResultTooLarge,
    SharedStateError,
)

bp = Blueprint("batch", __name__, url_prefix="/v1/batch")


@bp.post("")
@operation(
    body=Operations,
    responses={200: Results},
    refuses=(*OF_A_WRITE, NotACounter, OutOfBounds, ResultTooLarge, NotSupported),
)
def run(body: Operations) -> Response:
    """Do operations in their order: with ``atomic`` all of them in one step, or none.

    Without, each is done by itself, and one that the store refuses does not keep the others from
    being done. In either case each has its result. A key or value that is not allowed refuses them
    all. Values that are read and longer than ``MAX_RESPONSE_BYTES`` together are 413.
    """
    operations, most = body.operations, current_app.config["MAX_BATCH_OPERATIONS"]
    if len(operations) > most:
        raise RequestEntityTooLarge(
            f"The batch has {len(operations):,} operations; at most {most:,} are allowed."
        )
    batch = cache.batch(max_bytes=current_app.config["MAX_RESPONSE_BYTES"])
    for position, each in enumerate(operations):
        _collect(batch, each, position)
    results = batch.apply() if body.atomic else batch.apply_each()
    return reply(Results(list(map(_result, operations, results))))


def _collect(batch: Batch, each: Get | Set | Delete | Inc, position: int) -> None:
    try:
        if isinstance(each, Inc):
            batch.inc(each.key, **each.options())
        elif isinstance(each, Get):
            batch.item(each.key)
        elif isinstance(each, Set):
            batch.set(each.key, each.value, each.ttl)
        else:
            batch.delete(each.key)
    except SharedStateError as error:
        error.step = position
        raise


def _result(each: Get | Set | Delete | Inc, found: Any) -> Result:
    key = each.key
    if isinstance(found, SharedStateError):
        problem = problem_of(found)
        return Result(problem.status, key, problem=problem)
    if isinstance(each, Inc):
        return Result(200, key, found)
    if isinstance(each, Get):
        return Result(404, key) if found is None else _found(found)
    if isinstance(each, Set):
        return Result(200, key)
    return Result(204 if found else 404, key)


def _found(item: Item) -> Result:
    return Result(200, item.key, item.value, item.ttl or None)
