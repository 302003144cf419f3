"""What is counted for Prometheus: requests, operations on the store, locks."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from flask import Flask, current_app
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from common import cache
from sharedstate import ConfigurationError, NotSupported, errors
from sharedstate.stores.guards.observed import Observed

from .tallies import Tallies

# Upper bounds in seconds; one more bucket has what took longer.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

REQUESTS = "sharedstate_http_request_duration_seconds"
OPERATIONS = "sharedstate_store_operations"
ERRORS = "sharedstate_store_errors"
CONFLICTS = "sharedstate_compare_and_set_conflicts"
LOCK_WAITS = "sharedstate_lock_waits"

HELP = {
    REQUESTS: "Seconds from a request to its response, by route.",
    OPERATIONS: "Operations on the store, those that failed included.",
    ERRORS: "Operations on the store that ended in an error.",
    CONFLICTS: "Times that compare-and-set found another value than it expected.",
    LOCK_WAITS: "Attempts to acquire a lock that was held by others.",
}
LABELS = {
    REQUESTS: ("method", "route", "status"),
    OPERATIONS: ("operation",),
    ERRORS: ("error",),
}

# A row of requests: how many were in each bucket, and the sum of their seconds.
_SUM = len(BUCKETS) + 1
_WIDTH = _SUM + 1
_LE = [*map(str, BUCKETS), "+Inf"]


def init_app(app: Flask) -> None:
    """Count from now on what the application's requests and its store do."""
    directory = app.config["METRICS_DIR"]
    try:
        metrics = Metrics(Tallies(Path(str(directory)) if directory else None))
    except OSError as error:
        raise ConfigurationError(f"METRICS_DIR cannot be used: {error}") from error
    app.extensions["metrics"] = metrics
    # On a backend of Flask-Caching's there is nothing exact to count.
    with app.app_context(), suppress(NotSupported):
        state = cache.state
        state.store = Observed(state.store, metrics.operation)


def of(app: Flask) -> Metrics:
    """The metrics of an application."""
    metrics: Metrics = app.extensions["metrics"]
    return metrics


def lock_held() -> None:
    """Count an attempt to acquire a lock that was held."""
    of(current_app).lock_held()


class Metrics:
    """What this process counts, and a collector of what all of them have counted."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._add = tallies.add
        self._requests = _Rows(tallies, REQUESTS, _WIDTH)
        self._operations = _Rows(tallies, OPERATIONS, label=str.lower)
        self._errors = _Rows(tallies, ERRORS)
        # Without labels there is a number to show before anything happens.
        self._conflicts = _Rows(tallies, CONFLICTS)[()]
        self._lock_waits = _Rows(tallies, LOCK_WAITS)[()]

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that has its response.

        :param seconds: how long it took.
        """
        place = self._requests[method, route, status]
        self._tallies.add_both(place + bisect_left(BUCKETS, seconds), 1, place + _SUM, seconds)

    def operation(self, name: str, error: BaseException | None, result: Any) -> None:
        """Count an operation on the store, as :class:`Observed` reports it."""
        self._add(self._operations[name])
        if error is not None:
            self._add(self._errors[_kind(error)])
        elif name == "Swap" and not result[0]:
            self._add(self._conflicts)

    def lock_held(self) -> None:
        """Count an attempt to acquire a lock that was held."""
        self._add(self._lock_waits)

    def collect(self) -> Iterator[Metric]:
        """The metrics of all processes, for prometheus_client to write down."""
        families = {name: _family(name) for name in HELP}
        for row, numbers in sorted(self._tallies.totals().items()):
            name, *labels = json.loads(row)
            family = families[name]
            if isinstance(family, HistogramMetricFamily):
                counts = accumulate(numbers[:_SUM])
                family.add_metric(labels, list(zip(_LE, counts, strict=True)), numbers[_SUM])
            else:
                family.add_metric(labels, numbers[0])
        yield from families.values()


class _Rows(dict[Any, int]):
    """The places of a metric's rows, by the value of its label or a tuple of those of several."""

    def __init__(
        self,
        tallies: Tallies,
        name: str,
        width: int = 1,
        *,
        label: Callable[[Any], str] = str,
    ) -> None:
        self._tallies = tallies
        self._name = name
        self._width = width
        self._label = label

    def __missing__(self, values: Any) -> int:
        labels = values if isinstance(values, tuple) else (values,)
        row = json.dumps([self._name, *map(self._label, labels)])
        self[values] = place = self._tallies.row(row, self._width)
        return place


def _family(name: str) -> HistogramMetricFamily | CounterMetricFamily:
    family = HistogramMetricFamily if name == REQUESTS else CounterMetricFamily
    return family(name, HELP[name], labels=LABELS.get(name))


def _kind(error: BaseException) -> str:
    """The name of the library's error that it is, or ``unexpected``."""
    known = (cls.__name__ for cls in type(error).__mro__ if cls.__module__ == errors.__name__)
    return next(known, "unexpected")
