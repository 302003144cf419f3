"""Hypothesis holds every store against a dictionary: the same calls, the same results."""

from __future__ import annotations

import os
from functools import partial

import pytest
from backends import Backend, Clock
from comparison import Comparison
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from sharedstate import State

pytestmark = [pytest.mark.slow, pytest.mark.needs("keys", "atomic_batch")]


CI = os.environ.get("CI") == "true"


def test_like_a_dictionary(backend: Backend, state: State, clock: Clock) -> None:
    """Whatever is done to a store, in any order, it returns what a dictionary would."""
    run_state_machine_as_test(
        partial(Comparison, state, clock),
        settings=settings(
            max_examples=8 if backend.slow else 20,
            stateful_step_count=40,
            deadline=None,
            derandomize=CI,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
