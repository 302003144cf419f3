"""When the store fails: the service says so at once, goes on by itself, and hands out no number
twice."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from database_servers import postgresql, server_directory
from redis_servers import redis_server

from race.judging.checkers import duplicates
from race.servers.processes import reserved_port
from race.servers.serve import Server, serve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CLIENTS = 8
# Guards against a hang, and nothing else.
SECONDS = 60


class Durable:
    """A server that keeps what it answered, and can be stopped, killed and started again."""

    def __init__(
        self,
        start: Callable[[], AbstractContextManager[subprocess.Popen[str]]],
        settings: dict[str, str],
    ) -> None:
        self.settings = settings
        self._start = start
        self._running = ExitStack()

    def start(self) -> None:
        self._process = self._running.enter_context(self._start())

    def kill(self) -> None:
        self._running.close()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, what: signal.Signals) -> None:
        """Send a signal to the server and its children, which have groups of their own."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, what)


@pytest.fixture(params=["redis", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Durable]:
    """A server that is not started yet."""
    with reserved_port() as port, server_directory() as directory:
        if request.param == "redis":
            options = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
            store = Durable(
                lambda: redis_server(tmp_path, *options, port=port),
                {"FLASK_CACHE_URL": f"redis://127.0.0.1:{port}"},
            )
        else:
            store = Durable(
                lambda: postgresql(port, directory, "-c", "fsync=on"),
                {"FLASK_CACHE_URL": f"postgresql://postgres@127.0.0.1:{port}/postgres"},
            )
        yield store
        store.kill()


@pytest.fixture
def server(store: Durable) -> Iterator[Server]:
    """A service whose store is not there yet."""
    env = store.settings | {"FLASK_CACHE_TIMEOUT": "1"}
    with serve("granian", cwd=ROOT, env=env, timeout=SECONDS) as server:
        yield server


def ask(server: Server, method: str, path: str) -> tuple[int, dict[str, str], dict[str, object]]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=SECONDS)
    with closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, dict(response.headers), json.loads(response.read())


def wait_until(server: Server, method: str, path: str) -> dict[str, object]:
    """The body of a response, when the service has noticed that its store is there."""
    for _ in range(SECONDS * 100):
        status, _, body = ask(server, method, path)
        if status == 200:
            return body
        assert status == 503
        threading.Event().wait(0.01)
    raise AssertionError("the service did not notice that its store is there")


class Load:
    """Clients that increment one counter all the time, and keep every response."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.numbers: list[int] = []
        self.problems: list[tuple[int, dict[str, str], dict[str, object]]] = []

    def run(self) -> None:
        while not self._stop.is_set():
            status, headers, body = ask(self._server, "POST", "/v1/counters/n")
            with self._changed:
                if status == 200:
                    self.numbers.append(int(str(body["value"])))
                else:
                    self.problems.append((status, headers, body))
                self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, SECONDS), self._server.log()

    def wait_for_more(self, responses: list[object], count: int = 2 * CLIENTS) -> None:
        seen = len(responses)
        self.wait_for(lambda: len(responses) >= seen + count)

    @contextmanager
    def running(self) -> Iterator[Load]:
        threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()


def test_no_number_is_given_twice_whatever_happens_to_the_store(
    server: Server, store: Durable
) -> None:
    """Missing, stopped, continued, killed and restarted under load, the store counts on.

    Meanwhile the service is live, and ready whenever the store is there. Every refusal is a 503
    that says when to try again, and whether something may have changed.
    """
    assert ask(server, "POST", "/v1/counters/n")[0] == 503
    _is_live_and_not_ready(server)
    store.start()
    assert wait_until(server, "POST", "/v1/counters/n")["value"] == 1
    with Load(server).running() as load:
        load.wait_for_more(load.numbers)
        store.pause()
        load.wait_for_more(load.problems)
        store.resume()
        load.wait_for_more(load.numbers)
        store.kill()
        load.wait_for_more(load.problems)
        _is_live_and_not_ready(server)
        store.start()
        load.wait_for_more(load.numbers)
        wait_until(server, "GET", "/health/ready")
    assert duplicates([1, *load.numbers]) == []
    unknown = 0
    for status, headers, body in load.problems:
        assert status == 503
        assert headers["retry-after"] == "1"
        assert body["type"] == "urn:sharedstate:store-unavailable"
        unknown += "may or may not" in str(body["detail"])
    total = int(str(wait_until(server, "GET", "/v1/counters/n")["value"]))
    assert max(load.numbers) <= total
    assert len(load.numbers) < total <= 1 + len(load.numbers) + unknown


def _is_live_and_not_ready(server: Server) -> None:
    for _ in range(4):
        assert ask(server, "GET", "/health/ready")[0] == 503
        assert ask(server, "GET", "/health/live")[0] == 200
