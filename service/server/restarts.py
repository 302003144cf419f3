"""Keep a server running whose workers die.

Granian starts a worker again that has died, at once. If the new one dies within 5.5 s too, Granian
stops all its workers and ends. Here it is started again, after a pause that grows::

    a worker dies                  a new one starts; the others serve meanwhile
    the new one dies at once       all stop; after 1 s all start
    and so on                      after 2 s, 4 s, …, at most 30 s
    none for a minute              after 1 s again
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

logger = logging.getLogger(__name__)

# Seconds.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
LONG_ENOUGH = 60.0


class Server(Protocol):
    """What is used of Granian's server, whose class has no public name."""

    interrupt_signal: bool
    interrupt_children: list[int]
    main_loop_interrupt: threading.Event

    def serve(self, *, target_loader: Callable[[], Any], wrap_loader: bool) -> None:
        """Serve until a signal, which is noted, or until workers die one after the other."""


class Interrupt(threading.Event):
    """What tells a server's main loop that a signal came or a worker died, and loses neither.

    Granian clears its own after it has looked at what there is to do. What comes in between would
    be seen with the next event only, which may never come::

        a worker dies   set ── the loop looks ────────────── clears ── waits
        SIGTERM                                 sets again ──┘
    """

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def clear(self) -> None:
        super().clear()
        if self._server.interrupt_signal or self._server.interrupt_children:
            self.set()


class Pauses:
    """How many seconds to wait before each start: twice as long if the last server was brief."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def after(self, lasted: float) -> float:
        """The pause after a server that lasted so many seconds."""
        pause = FIRST_PAUSE if lasted >= LONG_ENOUGH else self._next
        self._next = min(2 * pause, LONGEST_PAUSE)
        return pause


def keep_running(
    make: Callable[[], Server], load: Callable[[], Any], has_started: Callable[[], bool]
) -> None:
    """Serve until SIGTERM or Ctrl-C, whatever becomes of the workers.

    :param make: returns the server; called for each start.
    :param load: returns what the server serves; called in each worker.
    :param has_started: whether a worker has ever been ready to serve.
    :raises SystemExit: with a message, if none ever was: the next one would not be either.
    """
    pauses = Pauses()
    while True:
        began = time.monotonic()
        server = make()
        server.main_loop_interrupt = Interrupt(server)
        try:
            server.serve(target_loader=load, wrap_loader=False)
        except SystemExit as end:
            if not end.code:
                raise  # A signal came before the server had handlers of its own.
            # So it ends when its workers die.
        exit_on_signals()
        if server.interrupt_signal:
            return
        if not has_started():
            sys.exit("sharedstate: no worker could start; the lines above say why")
        pause = pauses.after(time.monotonic() - began)
        logger.error("workers die as soon as they start; all are started again in %g s", pause)
        time.sleep(pause)


def exit_on_signals() -> None:
    """Let SIGTERM and Ctrl-C raise :exc:`SystemExit`, until a server sets handlers of its own."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
