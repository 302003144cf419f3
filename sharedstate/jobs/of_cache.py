"""What a :class:`~sharedstate.Cache` lets happen once, or so many times at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta, tzinfo
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..keyspace.arguments import checked_seconds
from ..locks.held import checked_lease
from ..locks.semaphore import Semaphore
from .idempotent import Idempotent
from .leader import Leader
from .once import once
from .period import period

if TYPE_CHECKING:
    from ..state import State

P = ParamSpec("P")
R = TypeVar("R")


class Jobs:
    """Methods for what all processes do together on the store of the current application."""

    if TYPE_CHECKING:

        @property
        def state(self) -> State: ...

    def once(
        self,
        *,
        every: float | timedelta | None = None,
        at: str | None = None,
        zone: str | tzinfo = UTC,
        name: str | None = None,
        lease: float = 60,
    ) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
        """Let a function run once a period, whatever worker calls it and how often.

        ::

            @cache.once(every=3600)
            def send_reminders(): ...

        A call returns what the function returns if it is due and nobody else runs it, and ``None``
        at once otherwise. If it raises, the caller gets the error and the next call may run it
        again in the same period. A run may take as long as it needs.

        :param every: seconds, or a ``timedelta``; periods begin with 1970. 0: once for ever.
        :param at: the time at which a period of a day begins, as ``"03:30"``. If nobody calls then,
            the first call after it runs the function.
        :param zone: of ``at``: a name, as ``"Europe/Berlin"``, or a ``tzinfo``.
        :param name: the job's, under which the store knows it; the path of the function if left
            out, which is another one if its module is run as a program.
        :param lease: seconds, from 0.01 to a day, after which others may run it if the process that
            runs it has died.
        :returns: a decorator. The call of what it returns raises :exc:`LockLost`, after the run, if
            the lease could not be renewed meanwhile, so that others may have run it too.
        :raises ValueError: if it is given both ``every`` and ``at`` or none of them, or one of the
            arguments is out of its bounds.
        """
        return once(partial(_state, self), name, period(every, at, zone), lease)

    def leader(
        self,
        name: str,
        lease: float = 15,
        *,
        on_start: Callable[[], object] | None = None,
        on_stop: Callable[[], object] | None = None,
    ) -> Leader:
        """Return a candidate, not yet started: one of all with this name is the leader at a time.

        ::

            leader = cache.leader("scheduler").start()
            if leader.is_leader: ...

        It gives up leading before its lease ends if it cannot renew that.

        :param name: the same for all candidates.
        :param lease: seconds, from 0.01 to a day, after which another one leads if the process of
            the leader has died.
        :param on_start: called in a thread of the candidate when it has become the leader.
        :param on_stop: called in the same thread when it is the leader no more.
        :raises InvalidKey: if the name is not one that a key may have.
        :raises ValueError: if the lease is out of its bounds.
        """
        return Leader(partial(_state, self), name, lease, on_start, on_stop)

    def idempotent(
        self,
        timeout: float | timedelta = 86400,
        *,
        per: Callable[[], object] | None = None,
        wait: float = 10,
        lease: float = 30,
        required: bool = False,
    ) -> Idempotent:
        """Let a view do what a request with an ``Idempotency-Key`` asks once.

        ::

            @app.post("/payments")
            @cache.idempotent(per=lambda: g.user.id)
            def pay(): ...

        Repeats get the stored response, with ``Idempotency-Replayed: true``. One that comes while
        the first is not done waits for it, then is refused with 409; one with another method,
        path, query or body is refused with 422. A response of 500 or more, or with 408, 425 or 429,
        or an error other than by ``abort``, is not stored: a repeat runs the view again.

        :param timeout: how many seconds a response is kept, or a ``timedelta``; 0: for ever.
        :param per: returns whose key it is, so that nobody gets the response to another one.
        :param wait: how many seconds a repeat waits for the first; 0: it is refused at once.
        :param lease: seconds after which a repeat runs the view if the process of the first died.
        :param required: whether a request without the header is refused with 400.
        :returns: a decorator of a view; it has to stand under that of the route.
        :raises ValueError: if ``timeout`` or ``lease`` is out of its bounds.
        """
        state, seconds = partial(_state, self), checked_seconds(timeout)
        return Idempotent(state, seconds, per, wait, checked_lease(lease), required)

    def semaphore(
        self, name: str, limit: int, lease: float = 30, wait: float = 10, *, renew: bool = False
    ) -> Semaphore:
        """Return a semaphore that ``limit`` clients at a time hold, not yet acquired.

        ::

            with cache.semaphore("reports", limit=3):
                write_report()

        Waiters get it in the order in which they came.

        :param name: of the semaphore; it is no key of the state.
        :param limit: from 1 to 256; the same for all that use this name.
        :param lease: seconds, from 0.01 to a day, after which a place is free unless renewed.
        :param wait: how many seconds to wait for others to release it; 0 tries once.
        :param renew: whether it is renewed in the background while it is held.
        :raises InvalidKey: if the name is not one that a key of two to four characters more may
            have.
        :raises ValueError: if the limit or the lease is out of its bounds.
        """
        return Semaphore(self.state, name, limit, lease=lease, wait=wait, renew=renew)


_state: Callable[[Any], State] = attrgetter("state")
