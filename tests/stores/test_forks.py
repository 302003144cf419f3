"""Parents and children that share a store across forks."""

from __future__ import annotations

import json
import multiprocessing
import time

import pytest
from backends import BACKENDS, give_up
from crowd import in_child
from lifecycle import (
    FORKED,
    SECONDS,
    TESTS,
    Settings,
    numbers_of,
    of,
    opened,
    run,
    shared,
    shared_by_any_way,
)

from race.clients.rush import rush
from race.judging.checkers import exactly_one_to
from race.servers.serve import missing, serve
from sharedstate import State


class TestForks:
    @shared_by_any_way
    def test_used_before(self, cache_settings: Settings) -> None:
        """A process that has used the store, its child and its grandchild all count exactly."""
        with opened(cache_settings) as state:
            assert state.inc("n") == 1
            theirs = in_child(_count_with_a_child, state)
            ours = [state.inc("n") for _ in range(100)]
            assert exactly_one_to([1, *theirs, *ours], 301)
            assert state.get("n") == 301

    @pytest.mark.slow
    @of("simple")
    def test_in_memory(self, cache_settings: Settings) -> None:
        """A child goes on with a copy that is its own, also if others write at the moment."""
        code = """
        numbers, stopped = [state.inc("n")], threading.Event()

        def write():
            while not stopped.is_set():
                numbers.append(state.inc("n"))

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                first = state.inc("n")
                os._exit(0 if state.inc("n") == first + 1 else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stopped.set()
        writer.join()
        print(state.get("n") - len(numbers))
        """
        assert numbers_of(run(code, cache_settings, "-W", FORKED)) == [0]

    @shared
    @pytest.mark.slow
    def test_pool(self, cache_settings: Settings) -> None:
        """The children of a `multiprocessing` pool count exactly, with their parent beside them."""
        with opened(cache_settings) as state:
            state.inc("n")
            fork = multiprocessing.get_context("fork")
            with fork.Pool(4, initializer=_inherit, initargs=(state,)) as pool:
                theirs = pool.map_async(_inherited_inc, range(100))
                ours = [state.inc("n") for _ in range(30)]
                numbers = [1, *ours, *theirs.get(SECONDS)]
            assert exactly_one_to(numbers, 131)

    @shared
    @pytest.mark.slow
    def test_while_threads_write(self, cache_settings: Settings) -> None:
        """Threads that fork at the same time, in the middle of others' work, keep nobody from
        going on, and nobody miscounts."""
        code = """
        import traceback
        stopped = threading.Event()
        # A fork in the middle of an import, which first uses bring, is beyond any library.
        numbers = [state.inc("n")]
        reader, writer = os.pipe()

        def write():
            while not stopped.is_set():
                numbers.append(state.inc("n"))
                state.get("n")

        def fork():
            for _ in range(5):
                pid = os.fork()
                if pid == 0:
                    status = 1
                    try:
                        mine = [state.inc("n") for _ in range(3)]
                        assert state.get("n") >= mine[-1]
                        os.write(writer, "".join(f"{number} " for number in mine).encode())
                        status = 0
                    except BaseException:
                        traceback.print_exc()
                    os._exit(status)
                assert os.waitpid(pid, 0)[1] == 0

        crowd = [threading.Thread(target=write) for _ in range(2)]
        forks = [threading.Thread(target=fork) for _ in range(4)]
        for thread in crowd + forks:
            thread.start()
        for thread in forks:
            thread.join()
        stopped.set()
        for thread in crowd:
            thread.join()
        os.close(writer)
        with open(reader) as pipe:
            print(pipe.read(), *numbers)
        assert state.get("n") == len(numbers) + 4 * 5 * 3
        """
        numbers = numbers_of(run(code, cache_settings, "-W", FORKED))
        assert exactly_one_to(numbers, len(numbers))


def _inherit(state: State) -> None:
    global _inherited
    _inherited = state


def _inherited_inc(_: int) -> int:
    return _inherited.inc("n")


def _count_with_a_child(state: State) -> list[int]:
    mine = [state.inc("n") for _ in range(100)]
    return mine + in_child(_count, state)


def _count(state: State) -> list[int]:
    return [state.inc("n") for _ in range(100)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "server, backend",
    [
        pytest.param(server, backend, id=f"{server}-{backend.id}")
        for server, name in (
            ("gunicorn-sync", "filesystem"),
            ("gunicorn-gevent", "lmdb"),
            ("gunicorn-gevent", "redis"),
        )
        for backend in BACKENDS
        if backend.id == name
    ],
)
def test_gunicorn(server: str, cache_settings: Settings) -> None:
    """Workers that are forked when the application has used its store count exactly."""
    if package := missing(server):
        give_up(f"{server} needs: pip install {package}")
    env = {f"FLASK_{name}": value for name, value in cache_settings.items()}
    env |= {"GUNICORN_CMD_ARGS": "--preload", "PYTHONPATH": str(TESTS.parent)}
    with serve(server, "counting:create_app()", env=env, cwd=TESTS / "apps") as running:
        bodies: list[dict[str, int]] = []
        deadline = time.monotonic() + SECONDS
        # On a busy machine one worker may have done all before the others have begun.
        while len({body["process"] for body in bodies}) < 2 and time.monotonic() < deadline:
            responses = rush(running.host, running.port, "POST", "/hits", clients=50, rounds=4)
            assert {response.status for response in responses} == {200}, running.log()
            bodies += [json.loads(response.body) for response in responses]
            if server != "gunicorn-sync":  # One of gevent's workers may accept all connections.
                break
        else:
            assert len({body["process"] for body in bodies}) > 1
        assert exactly_one_to([body["value"] for body in bodies], len(bodies))
        [counts] = rush(running.host, running.port, "GET", "/counts", clients=1, rounds=1)
    found = json.loads(counts.body)
    assert found["hits"] == len(bodies)
    assert found["starts"] == 1
