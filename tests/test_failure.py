"""When the store fails: the service says so at once, goes on by itself, and hands out no number
twice."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from redis_servers import redis_server, reserved_port

from race.checkers import duplicates
from race.servers import Server, serve

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
CLIENTS = 8
PATIENCE = 60


class DurableRedis:
    """A Redis server that keeps what it answered, and can be stopped, killed and started again."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._port = port
        self.settings = {
            "FLASK_CACHE_TYPE": "redis",
            "FLASK_CACHE_REDIS_URL": f"redis://127.0.0.1:{port}",
        }
        self._running = ExitStack()

    def start(self) -> None:
        options = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
        self.process: subprocess.Popen[str] = self._running.enter_context(
            redis_server(self._directory, *options, port=self._port)
        )

    def kill(self) -> None:
        self._running.close()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DurableRedis]:
    with reserved_port() as port:
        store = DurableRedis(tmp_path, port)
        store.start()
        yield store
        store.kill()


@pytest.fixture
def server(store: DurableRedis) -> Iterator[Server]:
    with serve("granian", cwd=ROOT, env=store.settings | {"FLASK_CACHE_TIMEOUT": "0.5"}) as server:
        yield server


def ask(server: Server, method: str, path: str) -> tuple[int, dict[str, str], dict[str, object]]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    with closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), json.loads(answer.read())


class Load:
    """Clients that increment one counter all the time, and keep every answer."""

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
            assert self._changed.wait_for(condition, PATIENCE), self._server.log()

    def wait_for_more(self, answers: list[object], count: int = 20) -> None:
        seen = len(answers)
        self.wait_for(lambda: len(answers) >= seen + count)

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
    server: Server, store: DurableRedis
) -> None:
    """Stopped, continued, killed and restarted under load, a store that keeps its data counts on.

    Every refusal is a 503 that says when to try again, and whether something may have changed.
    """
    with Load(server).running() as load:
        load.wait_for_more(load.numbers)
        store.pause()
        load.wait_for_more(load.problems)
        store.resume()
        load.wait_for_more(load.numbers)
        store.kill()
        load.wait_for_more(load.problems)
        store.start()
        load.wait_for_more(load.numbers)
    assert duplicates(load.numbers) == []
    unknown = 0
    for status, headers, body in load.problems:
        assert status == 503
        assert headers["retry-after"] == "1"
        assert body["type"] == "urn:sharedstate:store-unavailable"
        unknown += "may or may not" in str(body["detail"])
    total = int(str(ask(server, "GET", "/v1/counters/n")[2]["value"]))
    assert max(load.numbers) <= total
    assert len(load.numbers) <= total <= len(load.numbers) + unknown


def test_health_while_the_store_is_down_and_after(server: Server, store: DurableRedis) -> None:
    """Without its store a worker is live and not ready; with it again, ready without a restart."""
    assert ask(server, "GET", "/health/ready")[0] == 200
    store.kill()
    for _ in range(10):
        assert ask(server, "GET", "/health/ready")[0] == 503
        assert ask(server, "GET", "/health/live")[0] == 200
    store.start()
    for _ in range(PATIENCE * 100):
        if ask(server, "GET", "/health/ready")[0] == 200:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the service did not notice that its store is back")


def test_a_store_that_is_down_does_not_keep_the_service_from_starting(
    store: DurableRedis,
) -> None:
    """A service that starts before its store answers 503, and works as soon as the store does."""
    store.kill()
    with serve("granian", cwd=ROOT, env=store.settings) as server:
        assert ask(server, "POST", "/v1/counters/n")[0] == 503
        store.start()
        for _ in range(PATIENCE * 100):
            status, _, body = ask(server, "POST", "/v1/counters/n")
            if status == 200:
                assert body["value"] == 1
                return
            threading.Event().wait(0.01)
    raise AssertionError("the service did not notice that its store is there")
