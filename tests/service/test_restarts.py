"""Workers of ``python app.py`` that die, or cannot start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from granian import Granian
from served import ROOT, SECONDS, ask, command, environment, free_port, serving, wait_for

from service.server.restarts import Interrupt, Pauses, exit_on_signals, keep_running


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    """The worker processes of a server that are alive."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {int(pid) for pid in children if _is_alive(pid)}


def _is_alive(pid: str) -> bool:
    with suppress(OSError):  # It is gone since.
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def read(port: int, path: str) -> str:
    """What a path shows, asked again if the worker dies that has the connection."""
    bodies: list[bytes] = []

    def is_read() -> bool:
        status, body = ask(port, "GET", path)
        assert status == 200
        bodies.append(body)
        return True

    wait_for(is_read)
    return bodies[0].decode()


INCREMENTS = 'sharedstate_store_operations_total{operation="increment"}'


@pytest.mark.slow
@pytest.mark.parametrize("killed", [1, 2], ids=["one", "both"])
def test_workers_that_die_are_started_again(tmp_path: Path, killed: int) -> None:
    """The other one serves meanwhile, and what the dead have counted stays in ``/metrics``.

    The files in which the workers count do not become more.
    """
    port, metrics = free_port(), tmp_path / "metrics"
    settings = {"CACHE_DIR": str(tmp_path / "state"), "METRICS_DIR": str(metrics)}
    with serving(port, "--workers", "2", **settings) as process:
        for _ in range(20):
            assert ask(port, "POST", "/v1/counters/a")[0] == 200
        wait_for(lambda: len(workers_of(process)) == 2)
        before, files = workers_of(process), set(metrics.iterdir())
        for worker in sorted(before)[:killed]:
            os.kill(worker, signal.SIGKILL)
        while len(workers_of(process) - set(sorted(before)[:killed])) < 2:
            assert json.loads(read(port, "/v1/counters/a"))["value"] == 20
            assert f"{INCREMENTS} 20.0" in read(port, "/metrics")
        new = workers_of(process) - before
        assert len(new) == killed
        wait_for(lambda: json.loads(read(port, "/v1/store"))["worker"] in new)
        assert f"{INCREMENTS} 20.0" in read(port, "/metrics")
        assert set(metrics.iterdir()) == files
        process.terminate()
        assert process.wait(SECONDS) == 0


def killed_twice(process: subprocess.Popen[str], port: int) -> str:
    """The line that says when a worker is started again which died as soon as it had started."""
    assert ask(port, "GET", "/health/live")[0] == 200
    (first,) = workers_of(process)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: workers_of(process) - {first})
    (second,) = workers_of(process) - {first}
    os.kill(second, signal.SIGKILL)
    assert process.stdout
    return next(line for line in process.stdout if "started again" in line)


@pytest.mark.slow
def test_workers_that_die_at_once_are_started_after_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is logged; then they serve, and ``/metrics`` has what those before them counted.

    In a pause the server can be stopped too; its temporary files are gone.
    """
    port = free_port()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with serving(port, "--workers", "1", CACHE_DIR=str(tmp_path / "state")) as process:
        assert ask(port, "POST", "/v1/counters/a")[0] == 200
        assert "in 1 s" in killed_twice(process, port)
        assert ask(port, "POST", "/v1/counters/a") == (200, b'{"key":"a","value":2}')
        assert f"{INCREMENTS} 2.0" in read(port, "/metrics")
        assert "in 2 s" in killed_twice(process, port)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert process.stdout and process.stdout.read() == ""
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.fixture
def handlers() -> Iterator[None]:
    """Those of signals are as before at the end."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_what_serves_nothing_yet(number: signal.Signals, handlers: None) -> None:
    """Both signals do, and that is no error, also when the server is about to start."""

    class Starting:
        interrupt_signal = False
        interrupt_children: list[int] = []
        main_loop_interrupt: Any = None

        def serve(self, **_: Any) -> None:
            assert isinstance(self.main_loop_interrupt, Interrupt)
            signal.raise_signal(number)

    exit_on_signals()
    with pytest.raises(SystemExit) as end:
        keep_running(Starting, lambda: None, lambda: False)  # type: ignore[arg-type]
    assert end.value.code == 0


@pytest.mark.parametrize("came", ["a signal", "a death"])
def test_what_comes_while_a_worker_is_replaced_is_not_lost(came: str) -> None:
    """Granian's main loop sees it, after it has looked at the first worker that died."""
    server = Granian("none", respawn_failed_workers=True)
    server.main_loop_interrupt = Interrupt(server)
    replaced: list[int] = []

    class Came(dict[int, float]):
        def clear(self) -> None:  # Just before the loop forgets that it was told of something.
            if came == "a death" and not replaced:
                server.interrupt_children.append(1)
                server.main_loop_interrupt.set()
            else:
                server.signal_handler_interrupt()

    server.respawned_wrks = Came()
    server._respawn_workers = lambda workers, *_: replaced.extend(workers)
    server.interrupt_children.append(0)
    server.main_loop_interrupt.set()
    loop = Thread(target=server._serve_loop, args=(None, None), daemon=True)
    loop.start()
    loop.join(SECONDS)
    assert not loop.is_alive()
    assert replaced == ([0, 1] if came == "a death" else [0])


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_server(tmp_path: Path) -> None:
    """It does not try for ever: where none was ever ready it ends, and its log has the reason."""
    (tmp_path / "sitecustomize.py").write_text(
        "import flask, multiprocessing\n"
        "init = flask.Flask.__init__\n"
        "def broken(*args, **kwargs):\n"
        "    if multiprocessing.parent_process():\n"
        "        1 / 0\n"
        "    init(*args, **kwargs)\n"
        "flask.Flask.__init__ = broken\n"
    )
    done = subprocess.run(
        command("--port", str(free_port()), "--workers", "2"),
        cwd=ROOT,
        env=environment(CACHE_TYPE="lmdb", CACHE_DIR=str(tmp_path)) | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 1
    assert "a worker cannot start" in done.stderr and "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith("\nsharedstate: no worker could start; the lines above say why\n")


def test_pauses_grow_and_begin_anew() -> None:
    """They double up to a bound while servers last briefly."""
    pauses = Pauses()
    assert [pauses.after(lasted=0.1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [pauses.after(lasted) for lasted in (60, 59)] == [1, 2]
