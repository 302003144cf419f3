"""For the tests of applications: a cache for one test, time that stands still, and races."""

from .cache import Clock, MemoryCache, stop_clock
from .checkers import assert_every_number_once, duplicates, exactly_one_to, gaps
from .racing import race

__all__ = [
    "Clock",
    "MemoryCache",
    "assert_every_number_once",
    "duplicates",
    "exactly_one_to",
    "gaps",
    "race",
    "stop_clock",
]
