"""`bench.sizes` checks what it measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.base import Place
from bench.contestants import Filesystem
from bench.sizes import OPERATIONS, Sized, measure_sizes


def test_each_operation_is_timed_at_each_size(tmp_path: Path) -> None:
    """There is a time for each store, operation, round and size."""
    times = measure_sizes(Place(tmp_path, None), ["filesystem", "redis"], (2, 50), 2, 0.01)
    lengths = {operation: len(rounds) for operation, rounds in times["filesystem"].items()}
    assert lengths == dict.fromkeys(OPERATIONS, 2)
    assert all(len(row) == 2 for rounds in times["filesystem"].values() for row in rounds)
    assert times.keys() == {"filesystem"}


@pytest.mark.parametrize("operation", ["get", "inc", "batch"])
def test_a_wrong_result_is_an_error(tmp_path: Path, operation: str) -> None:
    """A value that somebody else has changed is noticed."""
    with Filesystem(Place(tmp_path, None)) as store:
        sized = Sized(store, 5)
        sized.microseconds("set", 0.01)
        store.cache.inc("count-3", 5)
        with pytest.raises(AssertionError):
            sized.microseconds(operation, 0.01)
