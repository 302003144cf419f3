"""``etcd``: the records in a cluster of etcd members, shared by all that reach a majority of it.

Each operation is a transaction of etcd's on the condition that nobody was in between, and is tried
again if somebody was. What is written is on the disks of a majority of the members. A member that
does not reply is passed over, and what it was sent is sent to another one, which cannot apply it
twice (see :mod:`.writer`).

When a record ends is decided by the clocks of those who use it, to the fraction of a second: keep
the clocks of several hosts in agreement.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from typing import Any
from weakref import finalize

from ...errors import ConfigurationError, Overloaded, SharedStateError, StoreUnavailable
from ...settings import Settings
from ..base import Page, Store, key_range
from ..operations import Each, Operation, Record
from ..support.addresses import Address, addresses, malformed, parsed, shown
from ..support.paging import Rows, ordered_page
from .errors import LeaseGone
from .grouping import groups, is_blind
from .host_lock import HostLock
from .known import Known, Note
from .leases import Leases
from .members import Login, Members
from .messages import ANYTHING, delete, found, look, put, raw, span
from .records import EXACT, Changes, View, conditions, parts, read
from .writer import Writers

_PORT = 2379
_DEFAULT = "etcd://127.0.0.1:2379"
_EXAMPLE = "etcd://user:password@host:2379,host2:2379, or etcds://… with TLS"
_NAMESPACE = "sharedstate"

_CLEAR_KEYS = 1000
_READ_KEYS = 16
_PAUSE = 0.001
_LONGEST_PAUSE = 0.01
_PATIENCE = 2
"""How many times ``timeout`` to go on where others are faster."""


class EtcdStore(Store):
    """A key a record, behind a namespace of the application's.

    :param hosts: the members.
    :param namespace: what the keys in etcd begin with.
    :param tls: whether to encrypt.
    :param login: a user of etcd's.
    :param tls_options: as ``ca_certs``.
    """

    name = "etcd"
    scope = "network"
    has_server = True
    combines = True

    def __init__(
        self,
        hosts: Iterable[Address],
        *,
        namespace: str = _NAMESPACE,
        tls: bool = False,
        login: Login | None = None,
        tls_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        members = list(hosts)
        self._location = f"{'etcds' if tls else 'etcd'}://{shown(members)}/{namespace}"
        self._prefix = namespace.encode() + b"/"
        # Outside of what begins with the prefix.
        self._writers_prefix = namespace.encode() + b"#writer/"
        self._lost = namespace.encode() + b"#lost"
        self._deleted = namespace.encode() + b"#deleted"
        self._members = Members(members, self.timeout, tls=tls, login=login, options=tls_options)
        self._host_lock = HostLock(self._location)
        self._begin()
        finalize(self, self._members.close)
        finalize(self, self._host_lock.close)

    def _begin(self) -> None:
        self._leases = Leases(self._members)
        self._writers = Writers(self._members, self._leases, self._writers_prefix, self._lost)
        self._known = Known()

    @classmethod
    def from_settings(cls, settings: Settings) -> EtcdStore:
        url = parsed(settings["CACHE_URL"] or _DEFAULT, "CACHE_URL", _EXAMPLE)
        namespace = url.path.strip("/") or _NAMESPACE
        if url.scheme not in ("etcd", "etcds"):
            raise malformed("CACHE_URL", _EXAMPLE)
        if bool(url.user) != bool(url.password):
            raise ConfigurationError("CACHE_URL of etcd needs a user and a password, or neither")
        return cls(
            addresses(url.hosts, _PORT, "CACHE_URL"),
            namespace=namespace,
            tls=url.scheme == "etcds",
            login=Login(url.user, url.password) if url.user else None,
            tls_options=dict(settings["CACHE_OPTIONS"]),
            timeout=settings["CACHE_TIMEOUT"],
        )

    def host_lock(self, keys: Sequence[bytes]) -> AbstractContextManager[object]:
        return self._host_lock.held([self._prefix + key for key in keys])

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        if not operation.writes:
            return operation(self.read(keys), self.clock())[1]
        if type(operation) is Each:
            return self._each(keys, operation)
        return self._transact(keys, operation)

    def _each(self, keys: Sequence[bytes], operation: Each) -> list[Any]:
        """Do as many of the operations in one step as etcd takes, and then the next ones."""
        results: list[Any] = []
        for places, steps in groups(operation):
            order = {place: number for number, place in enumerate(places)}
            own = Each([(tuple([order[p] for p in positions]), each) for positions, each in steps])
            try:
                results += self._transact([keys[place] for place in places], own)
            except StoreUnavailable as error:
                # Those before it are done: this is the error of these only.
                results += [copy(error) for _ in steps]
            except SharedStateError as error:
                # Of one record or one operation among them; nothing was done.
                if len(steps) == 1:
                    results.append(error)
                else:
                    results += [self._alone(keys, step) for step in steps]
        return results

    def _alone(self, keys: Sequence[bytes], step: tuple[Sequence[int], Operation]) -> Any:
        places, operation = step
        try:
            return self._transact([keys[place] for place in places], operation)
        except SharedStateError as error:
            return error

    def _transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        names = [self._prefix + key for key in keys]
        if is_blind(operation):
            return self._attempt(names, operation, View([ANYTHING] * len(names), 0, True))
        with self._host_lock.held(names) as note:
            view = (note or self._known).view(names)
            return self._attempt(names, operation, view, note)

    def _attempt(
        self,
        names: Sequence[bytes],
        operation: Operation,
        view: View | None,
        note: Note | None = None,
    ) -> Any:
        patience = time.monotonic() + _PATIENCE * self.timeout
        lost = 0
        while True:
            deadline = self._deadline()
            view = view or View(*read(self._members, names, deadline), True)
            now = self.clock()
            live = [one.live(now) for one in view.found]
            try:
                after, result = operation(live, now)
            except SharedStateError:
                if view.is_certain:
                    raise
                view = None
                continue
            changes = Changes(names, view.found, live, after)
            if changes:
                applied_at, view = self._commit(names, view, changes, now, deadline)
                if applied_at:
                    if note is not None:
                        note.write(changes.known(applied_at))
                    return result
                lost += 1
                self._go_on(lost, patience)
            elif view.is_certain:
                return result
            else:
                view = None

    def _go_on(self, lost: int, patience: float) -> None:
        """Wait before the next attempt, or raise if it has taken too long."""
        if time.monotonic() > patience:
            raise Overloaded(
                f"others were faster {lost} times to change this in {self._location}; "
                "nothing was applied"
            )
        # An attempt with what was just found is the best there is. When that is lost too there are
        # many, and each leaves it to others for a while.
        if lost % 2 == 0:
            time.sleep(random.random() * min(lost * _PAUSE, _LONGEST_PAUSE))

    def _commit(
        self, names: Sequence[bytes], view: View, changes: Changes, now: float, deadline: float
    ) -> tuple[int, View | None]:
        """The revision at which it was applied; 0 and what is there, if that was looked at."""
        compares = conditions(names, view, self._deleted)
        blind = not compares
        looks = [] if blind or len(names) > EXACT else [look(name) for name in names]
        try:
            writes = changes.writes(self._leases, now, deadline, self._deleted)
            outcome = self._writers.commit(compares, writes, looks, deadline)
        except LeaseGone:
            self._leases.forget()
            return 0, view if blind else None
        if outcome.was_applied:
            if outcome.has_company:
                # Who has lost has a reply less to wait for than one that reads again, and is next.
                self._known.forget()
                self._host_lock.contended(names)
            else:
                self._known.remember(changes.known(outcome.revision))
            return outcome.revision, None
        if blind:
            return 0, view
        self._host_lock.contended(names)
        return 0, View(list(map(found, outcome.looked)), 0, True) if looks else None

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        if not keys:
            return []
        names = [self._prefix + key for key in keys]
        present, _ = read(self._members, names, self._deadline())
        now = self.clock()
        return [one.live(now) for one in present]

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        return ordered_page(self._rows, prefix, cursor, limit, self.clock())

    def _rows(self, first: bytes, end: bytes, count: int) -> Rows:
        """Keys and when they end, for which the values of those are read that have a lease."""
        listed = self._list(first, end, count)
        ends: dict[bytes, float] = {}
        for some in parts([name for name, has_lease in listed if has_lease], _READ_KEYS):
            present, _ = read(self._members, some, self._deadline())
            ends.update((name, one.expires) for name, one in zip(some, present, strict=True))
        skipped = len(self._prefix)
        return [(name[skipped:], ends.get(name)) for name, _ in listed]

    def clear(self, prefix: bytes) -> None:
        """See :meth:`Store.clear`; more than a thousand records go in several steps."""
        first, end = key_range(prefix)
        while listed := self._list(first, end, _CLEAR_KEYS):
            begins, ends = listed[0][0], listed[-1][0] + b"\0"
            writes = [delete(begins, ends), put(self._deleted, b"")]
            while not self._writers.commit((), writes, (), self._deadline()).was_applied:
                pass
            if len(listed) < _CLEAR_KEYS:
                break

    def _list(self, first: bytes, end: bytes, count: int) -> list[tuple[bytes, bool]]:
        """The first keys of a range, as etcd has them, and whether they have a lease."""
        message = span(self._prefix + first, self._prefix + end, count)
        reply = self._members.ask("kv/range", message, self._deadline()).message
        return [(raw(entry["key"]), "lease" in entry) for entry in reply.get("kvs", ())]

    def ping(self) -> None:
        read(self._members, [self._deleted], self._deadline())

    def describe(self) -> dict[str, Any]:
        return {
            "location": self._location,
            "durability": "on the disks of a majority of the members when a write returns",
        }

    def measure(self) -> dict[str, int]:
        everything = {**span(self._prefix, self._prefix + b"\xff", 0), "count_only": True}
        count = self._members.ask("kv/range", everything, self._deadline()).message
        status = self._members.ask("maintenance/status", {}, self._deadline()).message
        return {"entries": int(count.get("count", 0)), "bytes": int(status.get("dbSize", 0))}

    def close(self) -> None:
        self._members.close()
        self._host_lock.close()

    def before_fork(self) -> None:
        self._members.close()

    def after_fork_in_child(self) -> None:
        # A writer is of one process: what it has written tells what was applied.
        self._members.reset()
        self._host_lock.after_fork_in_child()
        self._begin()

    def _deadline(self) -> float:
        return time.monotonic() + self.timeout
