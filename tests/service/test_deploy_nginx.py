"""Two instances behind the nginx of ``deploy/``, on a real Redis."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from urllib.parse import urlsplit

import pytest
import redis
import yaml
from backends import program
from served import SECONDS, ask, free_port, reserved, serving, wait_for

from race.clients.rush import Response, rush

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
NGINX = (DEPLOY / "nginx.conf").read_text()
APPS = ("app1", "app2")

TOKEN = "a-token-of-this-test-and-of-nobody-else"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Cluster:
    """nginx, and the instances behind it by port."""

    port: int
    apps: dict[int, subprocess.Popen[str]] = field(default_factory=dict)

    def ask(self, method: str, path: str, **headers: str) -> Response:
        """One request through nginx."""
        return rush(
            "127.0.0.1", self.port, method, path, clients=1, rounds=1, headers=BEARER | headers
        )[0]


def interpolated(value: str, url: str) -> str:
    """An environment variable of compose.yaml, as Docker Compose and its network would have it."""
    value = value.replace("redis://redis:6379/0", url)
    value = re.sub(r"\$\{API_TOKEN:\?[^}]*\}", TOKEN, value)
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


@contextmanager
def instance(url: str, **settings: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The port and the process of an instance whose Redis is there."""
    own = {
        name.removeprefix("FLASK_"): interpolated(value, url)
        for name, value in COMPOSE["services"]["app1"]["environment"].items()
        if value is not None
    }
    port = free_port()
    with serving(port, "--workers", "2", **{**own, "LOG_FORMAT": "json", **settings}) as process:
        yield port, process


@contextmanager
def nginx(
    directory: Path, apps: dict[int, subprocess.Popen[str]], text: str = NGINX
) -> Iterator[Cluster]:
    """Debian's nginx with the configuration of ``deploy/``, but for addresses and paths."""
    cluster = Cluster(free_port(), apps)
    configuration = text.replace("listen 8080", f"listen 127.0.0.1:{cluster.port}")
    for name, port in zip(APPS, apps, strict=True):
        configuration = configuration.replace(f"{name}:5000", f"127.0.0.1:{port}")
        assert ask(port, "GET", "/health/ready")[0] == 200
    path = directory / "nginx.conf"
    path.write_text(configuration.replace("/tmp/", f"{directory}/"))
    options = "daemon off;"
    if os.geteuid() == 0:
        options += " user root;"
    command = [program("nginx", "/usr/sbin/nginx"), "-p", str(directory), "-e", "stderr"]
    with (directory / "nginx.log").open("w") as log, reserved(cluster.port):
        process = subprocess.Popen(
            [*command, "-c", str(path), "-g", options], stdout=log, stderr=log
        )
        try:
            assert ask(cluster.port, "GET", "/health/ready")[0] == 200
            yield cluster
        finally:
            process.terminate()
            assert process.wait(SECONDS) == 0


@pytest.fixture(scope="module")
def redis_of_all(redis_url: str) -> Iterator[str]:
    """A database that the instances of all these tests have to themselves."""
    url = f"{redis_url}/2"
    yield url
    with redis.Redis.from_url(url) as server:
        server.flushdb()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def cluster(directory: Path, redis_of_all: str) -> Iterator[Cluster]:
    """nginx and two instances, which all these tests share: each has counters of its own."""
    with ExitStack() as stack:
        apps = dict(stack.enter_context(instance(redis_of_all)) for _ in APPS)
        yield stack.enter_context(nginx(directory, apps))


def numbers(responses: list[Response]) -> list[int]:
    return [json.loads(response.body)["value"] for response in responses if response.status == 200]


def direct(port: int, path: str) -> Response:
    """What one instance responds."""
    return rush("127.0.0.1", port, "GET", path, clients=1, rounds=1, headers=BEARER)[0]


def standing(port: int, key: str) -> int:
    """What a counter stands at."""
    response = direct(port, f"/v1/counters/{key}")
    return json.loads(response.body)["value"] if response.status == 200 else 0


def increments(port: int) -> int:
    """How many an instance has done."""
    found = re.search(
        rb'operations_total\{operation="increment"\} (\d+)', direct(port, "/metrics").body
    )
    return int(found[1]) if found else 0


def test_a_hundred_clients_count_through_nginx(cluster: Cluster) -> None:
    """Both instances together give 100 clients the 500 numbers from 1 to 500."""
    before = [increments(port) for port in cluster.apps]
    responses = rush("127.0.0.1", cluster.port, "POST", "/v1/counters/a", rounds=5, headers=BEARER)
    assert sorted(numbers(responses)) == list(range(1, 501))
    done = [increments(port) - count for port, count in zip(cluster.apps, before, strict=True)]
    assert sum(done) == 500
    assert min(done) > 0


def test_nginx_passes_on_what_it_should(cluster: Cluster, directory: Path) -> None:
    """Keys as they are, ids, origins, bodies as large as they may be; metrics and tokens not."""
    key = "a//b%2Fc%20d/../e"
    wanted = {"key": "a//b/c d/../e", "value": 1}
    response = cluster.ask("POST", f"/v1/counters/{key}", **{"X-Request-ID": "from-the-client"})
    assert json.loads(response.body) == wanted
    assert cluster.ask("GET", "/metrics").status == 404
    origin = {"Origin": f"http://127.0.0.1:{cluster.port}"}
    assert cluster.ask("POST", "/v1/counters/b", **origin).status == 200
    large = [
        rush(
            *("127.0.0.1", cluster.port, "PUT", "/v1/values/large"),
            clients=1,
            rounds=1,
            body=json.dumps({"value": "x" * size}).encode(),
            headers=BEARER | {"Content-Type": "application/json"},
        )[0]
        for size in ((1 << 20) - 2, 2 << 20)
    ]
    assert [response.status for response in large] == [201, 413]
    assert json.loads(large[1].body)["status"] == 413
    log = directory / "nginx.log"
    wait_for(lambda: "from-the-client" in log.read_text())
    assert TOKEN not in log.read_text()


def test_nginx_limits_what_one_address_asks_at_one_time(cluster: Cluster, tmp_path: Path) -> None:
    """Above its limit a request is 429, and others' are answered when it has gone down."""
    limited = NGINX.replace("limit_conn clients 200;", "limit_conn clients 2;")
    assert limited != NGINX
    head = f"POST /v1/counters/c HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
    with nginx(tmp_path, cluster.apps, limited) as narrow:
        with ExitStack() as stack:
            responses: list[Response] = []

            def refused_beside_another() -> bool:
                # nginx refuses this one too while it still counts an earlier request, so that two
                # may not be enough.
                waiting = socket.create_connection(("127.0.0.1", narrow.port), timeout=SECONDS)
                stack.enter_context(waiting).sendall(f"{head}Content-Length: 2\r\n\r\n".encode())
                responses.append(narrow.ask("POST", "/v1/counters/d"))
                return responses[-1].status == 429

            wait_for(refused_beside_another)
            # The next one may be let through, as fewer may be counted by then.
            assert json.loads(responses[-1].body)["status"] == 429
        wait_for(lambda: narrow.ask("GET", "/v1/store").status == 200)


@contextmanager
def withholding(redis_port: int | None, events: SimpleQueue[str]) -> Iterator[int]:
    """The port of a way to Redis that keeps the responses to increments, and tells when it has one.

    All else goes through, such as what a new connection begins with.
    """

    class Way(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", redis_port)) as server:
                with suppress(ConnectionResetError):  # The instance was killed.
                    while sent := self.pass_on(self.request, server):
                        if b"INCRBY" in sent:
                            server.recv(1 << 16)
                            events.put("withheld")
                            self.request.recv(1)
                            return

        def pass_on(self, instance: socket.socket, server: socket.socket) -> bytes:
            """What the instance sends next, with the responses on the way back until then."""
            while instance not in select.select([instance, server], [], [])[0]:
                instance.sendall(server.recv(1 << 16))
            sent = instance.recv(1 << 16)
            server.sendall(sent)
            return sent

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Way) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_request_that_lost_its_response_is_not_sent_again(
    cluster: Cluster, redis_of_all: str, tmp_path: Path
) -> None:
    """What Redis had done for an instance when it was killed is done once, and answered by 502."""
    events: SimpleQueue[str] = SimpleQueue()
    other = next(iter(cluster.apps))
    address = urlsplit(redis_of_all)
    with (
        withholding(address.port, events) as way,
        # It has to wait for Redis until it is killed, and nginx for 30 s.
        instance(f"redis://127.0.0.1:{way}{address.path}", CACHE_TIMEOUT="25") as (dying, process),
        nginx(tmp_path, {dying: process, other: cluster.apps[other]}) as pair,
        ThreadPoolExecutor(1) as pool,
    ):
        asked, event = 0, "answered"
        while event == "answered":  # nginx soon comes to the instance that gets no response
            asking = pool.submit(pair.ask, "POST", "/v1/counters/e")
            asking.add_done_callback(lambda _: events.put("answered"))
            asked, event = asked + 1, events.get(timeout=SECONDS)
        assert not asking.done()
        os.killpg(process.pid, signal.SIGKILL)
        assert asking.result().status == 502
        assert standing(other, "e") == asked


def test_an_instance_that_is_killed_counts_nothing_twice(cluster: Cluster) -> None:
    """When a worker dies at work, no number is given twice, and the others go on."""
    dying, other = cluster.apps
    worker = json.loads(direct(dying, "/v1/store").body)["worker"]
    with ThreadPoolExecutor(1) as pool:
        rushing = pool.submit(
            rush, "127.0.0.1", cluster.port, "POST", "/v1/counters/f", rounds=20, headers=BEARER
        )
        wait_for(lambda: standing(other, "f") >= 200)
        os.kill(worker, signal.SIGKILL)
        responses = rushing.result()
    given = numbers(responses)
    assert len(given) == len(set(given))
    assert {response.status for response in responses} <= {200, 502}
    unknown = len(responses) - len(given)
    assert len(given) <= standing(other, "f") <= len(given) + unknown
    wait_for(lambda: cluster.ask("POST", "/v1/counters/f").status == 200)
    assert cluster.apps[dying].poll() is None
