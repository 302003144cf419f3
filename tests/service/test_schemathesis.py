"""Thousands of requests that Schemathesis makes up from `/openapi.json`, to a real server.

To send many more::

    schemathesis --config-file tests/schemathesis.toml run -n 500 http://127.0.0.1:5000/openapi.json
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from served import ROOT, ask, free_port, serving

pytestmark = pytest.mark.slow

EXAMPLES = 3
TOKEN = "the-token-for-everything"
# They go through the same hooks, so what a schema cannot say is no failure of a request.
COMMAND = ["-m", "schemathesis.cli", "--config-file", "tests/schemathesis.toml", "run"]


def fuzz(port: int, *options: str) -> str:
    """The report of a run that has found nothing; an assertion with all of it otherwise."""
    done = subprocess.run(
        [sys.executable, *COMMAND, f"http://127.0.0.1:{port}/openapi.json", "--no-color", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)  # A minute of it on a machine that does much else.
def test_no_request_gets_a_response_that_is_not_documented(tmp_path: Path) -> None:
    """Valid, invalid and half-valid requests: none is a 500, undocumented, or wrongly accepted.

    No operation forgets to ask for the token.
    """
    port = free_port()
    with serving(port, "--workers", "1", CACHE_DIR=str(tmp_path), API_TOKEN=TOKEN):
        assert ask(port, "GET", "/health/ready")[0] == 200
        token = ("-H", f"Authorization: Bearer {TOKEN}")
        phases = ("--phases", "examples,coverage,fuzzing")
        report = fuzz(port, *phases, "--max-examples", str(EXAMPLES), *token)
        selected, total = re.findall(r"Operations: +(\d+) selected / (\d+) total", report)[0]
        assert selected == total
        assert int(re.findall(r"(\d+) generated", report)[0]) > 250
        assert ask(port, "GET", "/health/ready")[0] == 200
