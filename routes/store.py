"""``/v1/store``: what the state is kept in, and which process responds."""

from __future__ import annotations

import os

from flask import Blueprint, Response, current_app

from common import cache
from service.contract.operation import operation
from service.contract.replies import reply
from service.contract.schemas import StoreAbilities, StoreStatus

bp = Blueprint("store", __name__, url_prefix="/v1/store")

ABILITIES = StoreAbilities.__struct_fields__


@bp.get("")
@operation(responses={200: StoreStatus})
def show() -> Response:
    """Return the store's type, who shares it, what survives, what it can do and what it holds."""
    state = cache.state
    store = state.store
    size = store.measure()
    workers, threads = workers_and_threads()
    return reply(
        StoreStatus(
            type=store.name,
            scope=store.scope,
            durability=store.describe()["durability"],
            codec=state.codec.name,
            can=StoreAbilities(**{ability: ability in store.can for ability in ABILITIES}),
            entries=size.get("entries"),
            bytes=size.get("bytes"),
            worker=os.getpid(),
            workers=workers,
            threads=threads,
        )
    )


def workers_and_threads() -> tuple[int | None, int | None]:
    """How many processes serve, with how many threads each; ``None`` if another server than ours.

    Only ``python app.py`` sets THREADS. Granian's WSGI environment would always say one process
    with several threads.
    """
    config = current_app.config
    if config["THREADS"] is not None:
        return config["WORKERS"], config["THREADS"]
    return None, None
