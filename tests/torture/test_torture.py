"""The proof under faults: it catches what is known to be wrong, and finds nothing in ours."""

from __future__ import annotations

import io
import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from backends import needed
from rich.console import Console

from torture.cli import main
from torture.judging.judge import Violation
from torture.judging.key_model import MISSING, Inc
from torture.judging.linearizability import Event
from torture.nemeses.table import NEMESES
from torture.options import parse
from torture.report import terminal
from torture.report.data import as_data
from torture.report.drawing import lines
from torture.report.html import page
from torture.run import Load, Result, run
from torture.run_log import Fault
from torture.servers.table import DEPLOYMENTS

SECONDS = 90  # Guards against a hang: what is wrong is caught in a few.
QUIET = (0.05, 0.2)
LONG_STOP = replace(NEMESES["stop"], seconds=(0.5, 0.7))  # Longer than the lease of a lock.


def tortured(store: str, names: tuple[str, ...], load: Load, directory: Path) -> Result:
    with needed(), DEPLOYMENTS[store](directory) as deployment:
        return run(deployment, [NEMESES.get(name, LONG_STOP) for name in names], load)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "store", "nemesis", "operations"),
    [
        pytest.param("get-then-set", "filesystem", "stop", ("inc",), id="get-then-set"),
        pytest.param("no-fence", "filesystem", "long stop", ("lock",), id="no-fence"),
        pytest.param("retry", "redis", "half", ("inc", "get"), id="retry"),
        pytest.param("stale-read", "redis", "half", ("set", "get"), id="stale-read"),
    ],
)
def test_broken_is_caught(
    broken: str, store: str, nemesis: str, operations: tuple[str, ...], tmp_path: Path
) -> None:
    """Each fault that is known in the field leads to a history that cannot have happened."""
    load = Load(
        SECONDS, broken=broken, events=50, quiet=QUIET, operations=operations, stops_early=True
    )
    result = tortured(store, (nemesis,), load, tmp_path)
    assert result.verdicts.violated
    assert not result.is_good
    assert lines(result.verdicts.violations[0].history)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "nemeses"),
    [
        ("filesystem", ("kill", "stop")),
        ("lmdb", ("full", "clock")),
        ("redis", ("server-kill", "partition")),
    ],
)
def test_ours_holds(store: str, nemeses: tuple[str, ...], tmp_path: Path) -> None:
    """All operations of the contract are linearizable while clients and servers fail."""
    result = tortured(store, nemeses, Load(0.5, quiet=QUIET), tmp_path)
    assert result.is_good, as_data([result], Load())
    assert {fault.nemesis for fault in result.faults} == {*nemeses}
    assert result.verdicts.keys
    assert not result.left_out


def a_result() -> Result:
    history = [
        Event("0.1", "inc", Inc(), 1, 0.0, 2.0),
        Event("1.0", "set", "<b>", None, 0.5, math.inf),
        Event("0.0", "inc", Inc(), 1, 1.0, 3.0),
    ]
    result = Result(
        "redis", faults=[Fault("kill", "client 0", 1.0, 2.0, 2.5), Fault("stop", "", 1)]
    )
    result.verdicts.violations.append(Violation("0.1", history, MISSING, ["kill"]))
    result.verdicts.violated = 1
    result.verdicts.losses.append(Violation("0.2", history, 5, [], "it is documented"))
    return result


def test_drawing() -> None:
    """Each operation is a line from its begin to its end, in words at its end."""
    drawn = lines(a_result().verdicts.violations[0].history)
    assert [line.split("  ")[-1].split("┤ ")[-1].split("… ")[-1].strip() for line in drawn] == [
        "inc(delta=1) → 1",
        "set('<b>') → no response",
        "inc(delta=1) → 1",
    ]
    assert drawn[0].index("├") < drawn[1].index("├") < drawn[2].index("├")
    assert drawn[0].index("┤") < drawn[2].index("┤") < drawn[1].index("…")


def test_report() -> None:
    """JSON and the page have the violation, what is documented, and how long recovery took."""
    data = as_data([a_result()], Load())
    [store] = json.loads(json.dumps(data))["stores"]
    assert store["recovery"] == {
        "kill": {"faults": 1, "slowest": 0.5},
        "stop": {"faults": 1, "slowest": None},
    }
    assert not store["good"]
    html = page([a_result()], Load())
    assert "a history that cannot have happened" in html
    assert "it is documented" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


def test_terminal() -> None:
    """The table has the figures; below it stand what was wrong, drawn, and what was left out."""
    result = a_result()
    result.left_out = {"partition": "no proxy can stand before it"}
    text = io.StringIO()
    terminal.show(Console(file=text, width=160), [result, Result("etcd", skipped="no etcd")])
    shown = text.getvalue()
    assert "kill 1 × 0.50 s, stop 1 × never" in shown
    assert "redis: VIOLATION during kill; the key 0.1 was missing" in shown
    assert "redis: lost, as documented (it is documented); the key 0.2 was 5" in shown
    assert "redis: without partition: no proxy can stand before it" in shown
    assert "etcd: skipped: no etcd" in shown
    assert "what is promised did not hold on redis" in shown


@pytest.mark.slow
def test_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command prints JSON, writes a page, and says by its exit code whether all held."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    written = tmp_path / "torture.html"
    load = ["--seconds", "0.2", "--threads", "2", "--nemesis", "stop", "clo*"]
    assert main(["--store", "simple", *load, "--json", "--html", str(written)]) == 0
    [store] = json.loads(capsys.readouterr().out)["stores"]
    assert store["good"]
    assert store["histories"]
    assert written.read_text().startswith("<!doctype html>")
    with pytest.raises(SystemExit, match="there is no 'nothing'"):
        main(["--store", "nothing"])


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Stores and nemeses can be named several times; what makes no sense is refused."""
    assert parse(["--store", "redis", "--store", "lmdb"]).store == ["redis", "lmdb"]
    for wrong in (["--processes", "0"], ["--broken", "nothing"], ["--html", "/nowhere/x"]):
        with pytest.raises(SystemExit):
            parse(wrong)
    capsys.readouterr()
