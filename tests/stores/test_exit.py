"""Interpreters that end without closing their store."""

from __future__ import annotations

import pytest
from backends import BACKENDS
from lifecycle import (
    FORKED,
    OPENED_ALIKE,
    Settings,
    run,
)

_THREADS = """
        crowd = [threading.Thread(target=state.inc, args=("n",)) for _ in range(4)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        """
USES = {
    "threads": f"""
        {_THREADS}
        assert state.get("n") == 4
        """,
    "fork": f"""
        state.inc("n")
        state.get("n")
        pid = os.fork()
        {_THREADS}
        state.get("n")
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            assert state.get("n") == 9
        """,
    "forgotten": """
        state.inc("n")
        del state
        State.from_settings(settings).inc("n")
        """,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend, use",
    [
        pytest.param(backend, use, id=f"{use}-{backend.id}")
        for backend in BACKENDS
        for use in USES
        if backend.id not in OPENED_ALIKE
        and (use != "threads") == (backend.scope != "process")
        and (use != "forgotten" or backend.id in ("filesystem", "redis"))
    ],
)
def test_exit(use: str, cache_settings: Settings) -> None:
    """An interpreter that ends without closing the store ends in silence, and so does its child."""
    process = run(USES[use], cache_settings, "-X", "dev", "-W", "error", "-W", FORKED)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
