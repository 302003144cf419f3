"""Judges of numbers that were given out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def duplicates(numbers: Iterable[int]) -> list[int]:
    """The numbers that were given more than once, in order."""
    return sorted(number for number, times in Counter(numbers).items() if times > 1)


def gaps(numbers: Iterable[int], n: int) -> list[int]:
    """The numbers from 1 to ``n`` that nobody was given, in order."""
    return sorted(set(range(1, n + 1)).difference(numbers))


def exactly_one_to(numbers: Iterable[int], n: int, unknown: int = 0) -> bool:
    """Whether ``n`` increments were given the numbers 1 to ``n``, each once and nothing else.

    :param unknown: how many of the ``n`` got no response; as many numbers may be missing.
    """
    given = list(numbers)
    in_range = all(1 <= number <= n for number in given)
    return in_range and not duplicates(given) and len(given) == n - unknown


def assert_every_number_once(numbers: Iterable[int]) -> None:
    """Raise :exc:`AssertionError` unless these are the numbers from 1 on, each once.

    It says which were given twice, and which to nobody.

    :param numbers: in any order, as :func:`race` returns them.
    """
    given = list(numbers)
    if not exactly_one_to(given, len(given)):
        raise AssertionError(
            f"not every number once: of 1 to {len(given)}, {duplicates(given)} were given more "
            f"than once and {gaps(given, len(given))} to nobody; the largest is {max(given)}"
        )
