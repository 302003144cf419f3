"""``/v1/locks``: leases that one client at a time holds.

They are the locks of :meth:`Cache.lock`: a client holds one against the application's own code too.
"""

from __future__ import annotations

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from common import cache
from service import metrics
from service.contract.errors import problem
from service.contract.operation import OF_A_KEY, OF_A_WRITE, operation
from service.contract.replies import no_content, reply
from service.contract.schemas import Acquire, Acquired, Held, Release, Renew
from sharedstate import Lock, LockLost, LockTimeout

bp = Blueprint("locks", __name__, url_prefix="/v1/locks")

# A lock may come free long before its lease ends.
RETRY_SECONDS = 1


@bp.post("/<key:name>")
@operation(body=Acquire, responses={201: Acquired}, refuses=(*OF_A_WRITE, LockTimeout))
def acquire(name: str, body: Acquire) -> Response:
    """Acquire a lock for ``lease`` seconds, unless another client holds it.

    ``fence`` is higher than that of every holder before: what the holder writes to should refuse
    a lower one than it has seen.
    """
    lock = cache.lock(name, lease=body.lease)
    if not lock.try_acquire():
        metrics.lock_held()
        return _held_by_others(lock)
    assert lock.token is not None
    return reply(Acquired(name, body.lease, lock.token, lock.fence), 201)


@bp.get("/<key:name>")
@operation(responses={200: Held}, refuses=(*OF_A_KEY, 404))
def show(name: str) -> Response:
    """Return for how many seconds a lock is still held, by any client."""
    seconds = cache.lock(name).remaining()
    if seconds is None:
        raise NotFound(f"Nobody holds the lock {name!r}.")
    return reply(Held(name, seconds))


@bp.put("/<key:name>")
@operation(body=Renew, responses={200: Held}, refuses=(*OF_A_WRITE, LockLost))
def renew(name: str, body: Renew) -> Response:
    """Renew a lock as its holder: it is held for ``lease`` seconds from now."""
    _lock(name, body.token).renew(body.lease)
    return reply(Held(name, body.lease))


@bp.delete("/<key:name>")
@operation(body=Release, responses={204: None}, refuses=(*OF_A_KEY, LockLost))
def release(name: str, body: Release) -> Response:
    """Release a lock as its holder."""
    _lock(name, body.token).release()
    return no_content()


def _lock(name: str, token: str) -> Lock:
    """Return the lock as its holder has it, if the token is the right one."""
    lock = cache.lock(name)
    lock.token = token
    return lock


def _held_by_others(lock: Lock) -> Response:
    seconds = lock.remaining() or 0
    return problem(
        409,
        f"Others hold the lock {lock.name!r}, for at most {seconds:.1f} more seconds.",
        title="The lock is held by others",
        kind="lock-timeout",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )
