"""Flask-Caching's own tests, with our ``Cache`` in the place of its."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fetch_flask_caching import SOURCE

HERE = Path(__file__).parents[1]

# They ask for the class of the backend object or look at its private attributes, which are ours.
LOOK_INSIDE_THE_BACKEND = [
    "test_basic_app.py::test_dict_config_initapp",
    "test_basic_app.py::test_dict_config_both",
    "test_basic_app.py::test_app_redis_cache_backend_url_default_db",
    "test_hash_method.py::test_file_hash_method_is_independent",
    "test_serializer.py::test_values_are_stored_in_the_configured_format",
]
MOST_OF_THEM = 250


@pytest.mark.slow
def test_flask_cachings_own_tests_pass_with_our_cache() -> None:
    """What Flask-Caching promises of its ``Cache`` holds for ours."""
    if not SOURCE.is_dir():
        reason = f"Flask-Caching's tests are not there: python {HERE.name}/fetch_flask_caching.py"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    deselected = [f"--deselect=tests/{name}" for name in LOOK_INSIDE_THE_BACKEND]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "in_place_of_flask_caching",
            "tests",
            *deselected,
        ],
        cwd=SOURCE,
        # With CI=true its Redis would have to be running; now it starts one.
        env={
            **os.environ,
            "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE / 'support'}",
            "CI": "false",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    numbers = re.search(r"(\d+) passed.* (\d+) deselected", done.stdout)
    assert numbers, done.stdout[-400:]
    assert int(numbers[1]) > MOST_OF_THEM
    assert int(numbers[2]) == len(LOOK_INSIDE_THE_BACKEND)
