"""What can be done to etcd in one step, of what callers want done together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..operations import Batch, Each, Operation, Put
from ..support.sizes import size_of
from .records import EXACT

_TOGETHER_BYTES = 512 << 10


def is_blind(operation: Operation) -> bool:
    """Whether it does the same whatever is there."""
    if type(operation) is Batch:
        return all(type(step) is Put for _, step in operation.steps)
    return type(operation) is Put


def groups(operation: Each) -> Iterator[tuple[list[int], list[tuple[Sequence[int], Operation]]]]:
    """The operations in their order, with the places of their records, in steps for etcd."""
    places: dict[int, None] = {}
    steps: list[tuple[Sequence[int], Operation]] = []
    size = 0
    for positions, each in operation.steps:
        size += size_of(each)
        union = places | dict.fromkeys(positions)
        if steps and (len(union) > EXACT or size > _TOGETHER_BYTES):
            yield list(places), steps
            union, steps, size = dict.fromkeys(positions), [], size_of(each)
        places = union
        steps.append((positions, each))
    if steps:
        yield list(places), steps
