"""``/health``: for what starts, stops and balances the workers."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from common import cache
from service.contract.errors import problem
from service.contract.operation import operation
from service.contract.replies import reply
from service.contract.schemas import Health
from sharedstate.cache import PROCESSES_DO_NOT_SHARE

bp = Blueprint("health", __name__, url_prefix="/health")


@bp.get("/live")
@operation(responses={200: Health})
def live() -> Response:
    """Return whether this process responds."""
    return reply(Health("live"))


@bp.get("/ready")
@operation(responses={200: Health}, refuses=(503,))
def ready() -> Response:
    """Return whether this process and its store respond, and all workers share the state."""
    store = cache.state.store
    store.ping()
    if store.scope == "process" and several_processes():
        return problem(
            503, PROCESSES_DO_NOT_SHARE, title="The state is not shared", kind="not-shared"
        )
    return reply(Health("ready"))


def several_processes() -> bool:
    """Whether this process is one of several, as far as it can tell."""
    # Granian's WSGI environment always says one process, so `python app.py` sets WORKERS.
    workers: int = current_app.config["WORKERS"]
    return workers > 1 or bool(request.environ.get("wsgi.multiprocess"))
