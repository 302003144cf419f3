"""Crowds: threads, processes or greenlets that begin at one gate, and what each of them saw.

What a worker does is a generator. It yields calls, each is timed, and it is sent the result::

    def work(state, me):
        for _ in range(100):
            number = yield partial(state.inc, "hits")

    outcome = run("spawned", open_state, work, size=8, look=partial(State.get, key="hits"))
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import select
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

# Guards against a hang, and nothing else.
SECONDS = 90

# Threads change so often that a race of theirs does show.
_SWITCH_SECONDS = 1e-5

GATE = object()
"""What a worker yields to wait for all the others."""

Work = Callable[[Any, int], Generator[Any, Any, None]]


class Answer(NamedTuple):
    """One call, as its worker saw it; the times are of a clock that all processes share."""

    worker: int
    result: Any
    started: float
    ended: float


class Outcome(NamedTuple):
    """All answers of a crowd, and what `look` found in the state when it was done."""

    answers: list[Answer]
    found: Any


def run(
    kind: str,
    open_state: Callable[[], Any],
    work: Work,
    size: int,
    look: Callable[[Any], Any],
) -> Outcome:
    """What a crowd saw.

    :param kind: ``threads`` on one state; ``greenlets`` on one state in a process that gevent has
        patched, which :func:`end_greenlets` ends; ``separate`` processes with a state each, or
        ``spawned`` ones, which begin with nothing of this one; or ``forked`` ones that all go on
        with the state which their parent had used before.
    :param open_state: returns the state; this and `work` and `look` can be pickled.
    """
    return _KINDS[kind](open_state, work, size, look)


def _threads(open_state: Any, work: Work, size: int, look: Any) -> Outcome:
    with _fast_switches():
        return _in_this_process(open_state, work, size, look)


def _in_this_process(open_state: Any, work: Work, size: int, look: Any) -> Outcome:
    state = open_state()
    gate = threading.Barrier(size)
    results: list[Any] = [None] * size

    def member(me: int) -> None:
        results[me] = _attempt(state, work, me, gate)

    threads = [threading.Thread(target=member, args=(me,), daemon=True) for me in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    outcome = Outcome(_checked(results), look(state))
    _close(state)
    return outcome


def _greenlets(open_state: Any, work: Work, size: int, look: Any) -> Outcome:
    return _Patched.run(open_state, work, size, look)


class _Patched:
    """A process that gevent has patched. Its start takes longer than most crowds: it is kept."""

    _process: subprocess.Popen[bytes] | None = None

    @classmethod
    def run(cls, *job: Any) -> Outcome:
        process = cls._process = cls._process or subprocess.Popen(
            [sys.executable, "-c", _PATCHED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin and process.stdout
        result: Outcome | str = "no result in time"
        try:
            process.stdin.write(pickle.dumps(sys.path) + pickle.dumps(job))
            process.stdin.flush()
            if select.select([process.stdout], [], [], SECONDS)[0]:
                result = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError):
            result = "the process of the greenlets died, see its standard error"
        if isinstance(result, str):
            cls.end()  # Who knows what is left in it.
            raise AssertionError(result)
        return result

    @classmethod
    def end(cls) -> None:
        process, cls._process = cls._process, None
        if process is not None:
            process.kill()
            process.communicate()


end_greenlets = _Patched.end


_PATCHED = """
import gevent.monkey
gevent.monkey.patch_all()
import os, pickle, sys, traceback
source, sink = os.fdopen(0, "rb", closefd=False), os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # What anybody prints is not taken for a result.
while True:
    try:
        sys.path[:] = pickle.load(source)
    except EOFError:
        break
    try:
        import crowd
        result = crowd._in_this_process(*pickle.load(source))
    except Exception:
        result = traceback.format_exc()
    pickle.dump(result, sink)
    sink.flush()
"""


def _spawned(open_state: Any, work: Work, size: int, look: Any) -> Outcome:
    return _processes("spawn", open_state, open_state, work, size, look)


def _forked(open_state: Any, work: Work, size: int, look: Any) -> Outcome:
    state = open_state()
    state.get("opened before the fork")
    outcome = _processes("fork", lambda: state, open_state, work, size, look)
    _close(state)
    return outcome


def _processes(
    method: str, theirs: Any, open_state: Any, work: Work, size: int, look: Any
) -> Outcome:
    context: Any = multiprocessing.get_context(method)
    gate = context.Barrier(size)
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [
        context.Process(target=_member, args=(sender, theirs, work, me, gate), daemon=True)
        for me, (_, sender) in enumerate(pipes)
    ]
    try:
        for process in processes:
            process.start()
        for _, sender in pipes:
            sender.close()
        results = [_received(receiver) for receiver, _ in pipes]
        for process in processes:
            process.join(SECONDS)
            assert process.exitcode == 0
    finally:
        for process, (receiver, _) in zip(processes, pipes, strict=True):
            receiver.close()
            process.kill()
            process.join()
            process.close()
    answers = _checked(results)
    state = open_state()
    outcome = Outcome(answers, look(state))
    _close(state)
    return outcome


def _member(sender: Any, open_state: Any, work: Work, me: int, gate: Any) -> None:
    sender.send(_attempt(open_state(), work, me, gate))
    sender.close()


def _received(receiver: Any) -> Any:
    if not receiver.poll(SECONDS):
        return "no answer in time"
    try:
        return receiver.recv()
    except EOFError:
        return "died"


def _attempt(state: Any, work: Work, me: int, gate: Any) -> list[Answer] | str:
    """The answers, or the traceback of what went wrong."""
    try:
        gate.wait(SECONDS)
        return _answers(work(state, me), me, gate)
    except Exception:  # noqa: BLE001 - whoever started the crowd raises it
        gate.abort()  # So that nobody waits for this one.
        return traceback.format_exc()


def _answers(calls: Generator[Any, Any, None], me: int, gate: Any) -> list[Answer]:
    answers = []
    result = None
    while True:
        try:
            call = calls.send(result)
        except StopIteration:
            return answers
        if call is GATE:
            result = gate.wait(SECONDS)
            continue
        started = time.monotonic()
        result = call()
        answers.append(Answer(me, result, started, time.monotonic()))


def _checked(results: list[Any]) -> list[Answer]:
    failed = [result for result in results if not isinstance(result, list)]
    # Those that only found the gate broken come after the one that broke it.
    failed.sort(key=lambda text: "BrokenBarrierError" in str(text))
    if failed:
        raise AssertionError(f"{len(failed)} of {len(results)} workers failed:\n{failed[0]}")
    return [answer for answers in results for answer in answers]


@contextmanager
def _fast_switches() -> Generator[None, None, None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _close(state: Any) -> None:
    if hasattr(state, "close"):
        state.close()


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns in a forked child, or the name and text of what it raises there.

    For what might kill the process, or must not touch the state of this one.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            try:
                result = function(*arguments)
            except Exception as error:  # noqa: BLE001 - whoever called judges it
                result = (type(error).__name__, str(error))
            with open(writer, "wb") as pipe:
                pickle.dump(result, pipe)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:
        raw = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child ended with {status}"
    return pickle.loads(raw)


_KINDS = {
    "threads": _threads,
    "greenlets": _greenlets,
    "separate": lambda open_state, *rest: _processes("fork", open_state, open_state, *rest),
    "spawned": _spawned,
    "forked": _forked,
}
