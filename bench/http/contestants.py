"""What is measured: a running server, and one kind of request to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha1

from .checks import faults
from .load import Load, Plan, request

BATCH_SIZE = 1000


@dataclass(frozen=True)
class Way:
    """How a server is asked to increment a counter, and to read one.

    :param method: of an increment.
    :param path: of an increment, with the counter's name in it.
    :param read: the path to read one.
    :param increased: what stands before the number in the response to an increment.
    :param named: whether a response names the counter.
    :param stands: what the response to a read contains, of the counter's name and number.
    """

    method: str
    path: str
    read: str
    increased: str
    named: bool
    stands: str


_PATH = "/v1/counters/{}"
SERVICE = Way("POST", _PATH, _PATH, '"value":', True, '"key":"{}","value":{},')
STOCK = Way("POST", _PATH, _PATH, '"value":', True, '"key":"{}","value":{}}}')
WEBDIS = Way("GET", "/INCR/{}", "/GET/{}", '"INCR":', False, '"GET":"{1}"')


@dataclass
class Running:
    """A running server, and what its counters have to stand at.

    :param way: how it counts; None if it does not.
    """

    name: str
    port: int
    way: Way | None = None
    stand: dict[int, int] = field(default_factory=dict)

    def wrong(self, load: Load, keys: Iterable[int] | None = None) -> list[str]:
        """What is wrong with counters that do not stand at the number of their increments.

        :param keys: which are read; all that were incremented if None.
        """
        if self.way is None:
            return []
        requests = []
        for key in self.stand if keys is None else keys:
            name = counter(key)
            stands = self.way.stands.format(name, self.stand.get(key, 0))
            requests.append(request("GET", self.way.read.format(name), stands))
        return faults(load.once(self.port, Plan(requests))) if requests else []


@dataclass(frozen=True)
class Contestant:
    """One kind of request to a running server.

    :param operation: increment, batch, read or nothing.
    :param plan: its requests, on so many keys.
    :param step: what each request adds; 0 if it adds nothing.
    :param is_exact: whether the run fails if it is not.
    :param cases: the numbers of connections and keys that it is measured with; all if None.
    """

    running: Running
    operation: str
    plan: Callable[[int], Plan]
    step: int = 0
    is_exact: bool = True
    cases: tuple[tuple[int, int], ...] | None = None

    @property
    def name(self) -> str:
        return self.running.name


def counter(key: int) -> str:
    """The name of a counter. In the order of their names they are in none of their numbers."""
    return f"count-{sha1(b'%d' % key).hexdigest()[:8]}"


def increments(way: Way) -> Callable[[int], Plan]:
    def plan(keys: int) -> Plan:
        names = [counter(key) for key in range(keys)]
        requests = [
            request(way.method, way.path.format(name), f'"key":"{name}"' if way.named else "")
            for name in names
        ]
        return Plan(requests, way.increased.encode())

    return plan


def batches(keys: int) -> Plan:
    """Increments of one counter, many in a request; the number is the last one's."""
    operations = [{"op": "inc", "key": counter(0)}] * BATCH_SIZE
    body = json.dumps({"operations": operations}, separators=(",", ":"))
    return Plan([request("POST", "/v1/batch", "", body)], b'"value":')


def reads(keys: int) -> Plan:
    """Reads of values, which `writes` has written."""
    requests = []
    for key in range(keys):
        name, text = _value(key)
        response = f'{{"key":"{name}","value":"{text}","ttl":null}}'
        requests.append(request("GET", f"/v1/values/{name}", response))
    return Plan(requests)


def writes(keys: int) -> Plan:
    requests = []
    for key in range(keys):
        name, text = _value(key)
        requests.append(request("PUT", f"/v1/values/{name}", "", json.dumps({"value": text})))
    return Plan(requests)


def nothing(keys: int) -> Plan:
    return Plan([request("POST", "/empty")])


def _value(key: int) -> tuple[str, str]:
    name = counter(key).replace("count", "value")
    return name, f"what is kept under {name}"
