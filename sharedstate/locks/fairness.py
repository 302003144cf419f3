"""The queue of a lock's waiters, kept in the lock's own record.

The record is the holder's token and, behind it, the waiters that have waited for long::

    (none)       free: the first caller takes it
    "A"          A holds it
    "A b c"      A holds it; b and c are next, in this order
    "~ b c"      A has released it: b takes it, and nobody else for HAND_OVER_SECONDS
    "~A b c"     A has released it and may take it again; b does if A does not at once

Without contention only the first two occur, and the queue costs nothing. If the first waiter has
died, the record expires, and the others form the queue anew.

To wake a process that sleeps takes longer than a short use of a lock. So a thread that was handed
the lock has a time slice of SLICE_SECONDS in which it may take the lock again and again: that is
the last state.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ..errors import StoreFull, ValueTooLarge
from ..keyspace import Keyspace
from ..keyspace.arguments import ABSENT
from ..stores.operations import Add

LATE_SECONDS = 0.01
"""A caller that has waited for longer joins the queue, and so does one that finds a queue."""

SLICE_SECONDS = 0.02
"""How long one thread may take a lock again, ahead of the queue."""

HAND_OVER_SECONDS = 0.5
"""How long a released lock is the first waiter's alone."""

_MAX_WAITERS = 64
_MIN_PAUSE = 0.0005
_MAX_PAUSE = 0.1
_RELEASED = "~"


class _TimeSlice(threading.local):
    """The record that this thread, or greenlet, was handed last, and when.

    ``left`` is the text of the record when this thread released it, empty before.
    """

    place: tuple[int, bytes] | None = None
    began = 0.0
    left = ""

    def begin(self, place: tuple[int, bytes]) -> None:
        self.place, self.began, self.left = place, time.monotonic(), ""

    @property
    def mark(self) -> str:
        return self.left.partition(" ")[0]

    def lasts(self, place: tuple[int, bytes]) -> bool:
        return self.place == place and time.monotonic() - self.began < SLICE_SECONDS


_slice = _TimeSlice()


def _nothing() -> None: ...


class Record:
    """The record of one lock, as one client last saw it."""

    def __init__(self, keyspace: Keyspace, name: str) -> None:
        self._keyspace = keyspace
        self._name = name
        self.place = (id(keyspace.store), keyspace.key(name))
        self._seen = ""

    def copy(self) -> Record:
        """The same record, as another thread sees it."""
        return Record(self._keyspace, self._name)

    def take(
        self, nonce: str, lease: float, wait: float, activity: Callable[[], Any] = _nothing
    ) -> bool:
        """Wait up to ``wait`` seconds to be the holder, as ``nonce``.

        :param activity: returns what changes as long as the one who may take the record comes back.
        :returns: whether ``nonce`` is the holder.
        """
        if self._take_again(nonce, lease) or self.add(nonce, lease):
            return True
        return wait > 0 and _Waiter(self, nonce, lease, activity).wait(wait)

    def is_left(self) -> bool:
        """Whether this thread has left the record, and its time slice lasts."""
        return bool(_slice.left) and _slice.lasts(self.place)

    def end_slice(self) -> None:
        """Hand over what this thread has left, when its time slice is over."""
        if _slice.lasts(self.place):
            return
        self._seen, mark, _slice.left = _slice.left, _slice.mark, ""
        while (words := self._seen.split()) and words[0] == mark:
            if self.write([_RELEASED, *words[1:]], HAND_OVER_SECONDS):
                return

    def replace(self, holder: str, new: str, lease: float) -> bool:
        """Make ``new`` the holder instead of ``holder``; returns whether that was the holder."""
        for _, *queue in self._held_by(holder):
            if self.write([new, *queue], lease):
                return True
        return False

    def release(self, holder: str) -> bool:
        """Let the next waiter take the record, if this is the holder; returns whether it was."""
        for _, *queue in self._held_by(holder):
            in_slice = bool(queue) and _slice.lasts(self.place)
            mark = _RELEASED + holder[:8] * in_slice
            if self.write([mark, *queue] if queue else [], HAND_OVER_SECONDS):
                if in_slice:
                    _slice.left = self._seen
                return True
        return False

    def read(self) -> list[str]:
        """The holder and the queue; nothing if the lock is free."""
        self._seen = self._keyspace.value(self._name, "")
        return self._seen.split()

    def add(self, nonce: str, lease: float) -> bool:
        """Be the holder if the lock is free; returns whether it was."""
        keyspace = self._keyspace
        if not keyspace.apply(self._name, Add(keyspace.encode(nonce, self._name), lease)):
            return False
        self._seen = nonce
        if _slice.place != self.place:
            _slice.begin(self.place)
        return True

    def enter(self, nonce: str, lease: float) -> bool:
        """Be the holder of a record that was released, if ``nonce`` may still take it."""
        mark = self._seen.split()[0]
        while len(words := self._seen.split()) > 1 and words[0] == mark:
            is_first = words[1] == nonce
            if not is_first and mark != _slice.mark:
                return False
            if self.write([nonce, *words[1 + is_first :]], lease):
                if is_first:
                    _slice.begin(self.place)
                return True
        return False

    def write(self, words: list[str], lease: float | None) -> bool:
        """Replace the record if it is as it was seen last; returns whether it was."""
        new = " ".join(words)
        keyspace = self._keyspace
        is_written, raw = keyspace.swap(
            self._name,
            keyspace.encode(self._seen),
            new or ABSENT,
            ABSENT if lease is None else lease,
        )
        if not is_written:
            new = "" if raw is None else keyspace.codec.decode(raw)
        self._seen = new
        return is_written

    def _held_by(self, holder: str) -> Iterator[list[str]]:
        """The record, again and again, as long as this is its holder."""
        if self._seen.split()[:1] != [holder]:
            self._seen = holder
        while (words := self._seen.split()) and words[0] == holder and holder[0] != _RELEASED:
            yield words

    def _take_again(self, nonce: str, lease: float) -> bool:
        """Take again the record that this thread has left in its time slice, ahead of the queue."""
        if not self.is_left():
            return False
        self._seen = _slice.left
        return self.enter(nonce, lease)


def pause(waited: float) -> float:
    """Seconds until the first in a queue looks again, which has waited for ``waited`` seconds."""
    return _random_pause(waited / 20)


def _random_pause(longest: float) -> float:
    return min(max(longest, _MIN_PAUSE), _MAX_PAUSE) * (0.5 + random.random())


class _Waiter:
    """A caller that waits for a record."""

    def __init__(
        self, record: Record, nonce: str, lease: float, activity: Callable[[], Any]
    ) -> None:
        self._record = record
        self._nonce = nonce
        self._lease = lease
        self._activity = activity
        self._began = time.monotonic()
        self._joined: tuple[float, int] | None = None
        """When it got into the queue, and how many were before it."""

    def wait(self, wait: float) -> bool:
        """Wait for up to ``wait`` seconds; returns whether it holds the record then."""
        is_holder = False
        try:
            is_holder = self._poll(self._began + wait)
        finally:
            if self._joined and not is_holder:
                self._leave()
        return is_holder

    def _poll(self, deadline: float) -> bool:
        before = None
        while True:
            words = self._record.read()
            now = words, self._is_next(words) and self._activity()
            if self._step(words, is_unchanged=now == before):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(self._pause(words[1:]), left))
            before = now

    def _is_next(self, words: list[str]) -> bool:
        return words[1:2] == [self._nonce] and words[0].startswith(_RELEASED)

    def _step(self, words: list[str], is_unchanged: bool) -> bool:
        """Take the record if that is possible; if it is late, get into the queue."""
        if not words:
            return self._record.add(self._nonce, self._lease)
        holder, *queue = words
        if self._is_next(words):
            if holder == _RELEASED or is_unchanged:
                return self._record.enter(self._nonce, self._lease)
        elif self._nonce not in queue and len(queue) < _MAX_WAITERS:
            now = time.monotonic()
            if queue or now - self._began > LATE_SECONDS:
                with suppress(StoreFull, ValueTooLarge):  # It waits without a place then.
                    if self._record.write([*words, self._nonce], None):
                        self._joined = now, len(queue)
        return False

    def _pause(self, queue: list[str]) -> float:
        """The first in the queue looks often, the others as fast as the queue moves."""
        now = time.monotonic()
        if self._joined is None or self._nonce not in queue:
            longest = (now - self._began) / 4
        else:
            joined, before = self._joined
            position = queue.index(self._nonce)
            pace = (now - joined) / max(before - position, 1)
            if not position:
                return pause(pace)
            longest = pace * position / 2
        return _random_pause(longest)

    def _leave(self) -> None:
        """Leave the queue; the waiters behind move up."""
        while self._nonce in (words := self._record.read())[1:]:
            words.remove(self._nonce)
            if len(words) == 1 and words[0][0] == _RELEASED:
                words = []
            if self._record.write(words, None):
                return
