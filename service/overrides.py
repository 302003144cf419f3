"""All that the service overrides of other packages: a place of Granian's.

``take_shortcut``: Granian hands each request to an event loop, which starts a task for it. What the
public ways cost, in µs of a worker's processor time for a static response with 32 and 256
connections (Granian 2.8.9, one worker, wrk beside it on two cores, the least of eight interleaved
rounds)::

    connections                    32           256
    the shortcut                   12.0          9.7
    rloop, mt and st               13.8  17.9   16.7  17.3
    uvloop, mt and st              14.9  16.8   12.5  15.0
    asyncio, mt and st             17.7  20.1   20.2  19.7

The version of Granian that this was read in is in ``requirements.txt``, and
``tests/service/test_overrides.py`` fails first where another one differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def take_shortcut(respond: Callable[[Any], bool]) -> None:
    """Let Granian's own thread respond to requests, as it would under WSGI.

    In a version of Granian that has no such place, all requests go over the event loop.

    :param respond: responds to a request of Granian's, which has a ``scope`` and a ``proto``, and
        whose ``done`` or ``err`` ends it; returns whether it does, or the event loop shall.
    """
    from granian import _futures  # Only its own workers need it.

    to_loop = getattr(_futures, "_cbsched_aioschedule", None)
    if to_loop is None:
        return

    def schedule_by(*arguments: Any) -> Callable[[Any], None]:
        wait = to_loop(*arguments)

        def schedule(request: Any) -> None:
            try:
                if not respond(request):
                    wait(request)
            except BaseException as error:  # noqa: BLE001  # Granian logs it and responds with 500
                request.err(error)

        return schedule

    _futures._cbsched_aioschedule = schedule_by
