"""``/v1/store``: what the state is kept in."""

from __future__ import annotations

from flask import Blueprint, Response

from common import cache
from service.replies import reply

bp = Blueprint("store", __name__, url_prefix="/v1/store")

ABILITIES = ("keys", "once", "atomic_batch")


@bp.get("")
def show() -> Response:
    """The store's type, who shares it, what survives, and what it can do."""
    state = cache.state
    store = state.store
    return reply(
        {
            "type": store.name,
            "scope": store.scope,
            "durability": store.describe()["durability"],
            "codec": state.codec.name,
            "can": {ability: ability in store.can for ability in ABILITIES},
        }
    )
