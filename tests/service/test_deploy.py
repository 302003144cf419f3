"""What is in ``deploy/``, as far as it can be checked without Docker and root."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from backends import program
from served import ask, free_port, serving

import app as service
from race.clients.rush import Response, rush
from service.settings import DEFAULTS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
NGINX = (DEPLOY / "nginx.conf").read_text()
UNIT = (DEPLOY / "sharedstate.service").read_text()
APPS = ("app1", "app2")

TOKEN = "a-token-of-this-test-and-of-nobody-else"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


# The files agree with each other and with the application.


def settings_named(text: str) -> set[str]:
    return set(re.findall(r"FLASK_([A-Z_]+)", text))


@pytest.mark.parametrize("text", [str(COMPOSE), DOCKERFILE, NGINX, UNIT])
def test_every_setting_that_is_named_exists(text: str) -> None:
    """Each ``FLASK_…`` variable is a setting of the service or of the library."""
    known = set(DEFAULTS)
    for path in (ROOT / "sharedstate").rglob("*.py"):
        known |= set(re.findall(r'"(CACHE_[A-Z_]+)"', path.read_text()))
    assert settings_named(text)
    assert settings_named(text) <= known


def test_the_image_has_what_the_service_imports() -> None:
    """All that is copied is there and not ignored, and nothing that it imports is left out."""
    copied = {
        name
        for line in re.findall(r"^COPY (.*)", DOCKERFILE, re.MULTILINE)
        for name in line.split()[:-1]
    }
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)
    imports = (
        "import app, sys; app.create_app({'CACHE_TYPE': 'simple'}); import service.server.serve\n"
    )
    imports += "print(*{m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)})"
    done = subprocess.run(
        [sys.executable, "-c", imports], cwd=ROOT, capture_output=True, text=True, check=True
    )
    own = {
        Path(name).relative_to(ROOT) for name in done.stdout.split() if name.startswith(f"{ROOT}/")
    }
    own = {path for path in own if path.parts[0] not in (".venv", "venv")}
    assert {path.parts[0] for path in own} <= copied


def test_the_image_runs_as_a_user_that_can_write_its_state() -> None:
    """It is not root, its state is a volume of its own, and it is stopped by SIGTERM."""
    user = re.search(r"^USER (\d+):", DOCKERFILE, re.MULTILINE)
    owner = re.search(r"--owner (\d+) .* (/\S+)$", DOCKERFILE, re.MULTILINE)
    assert user and owner and user[1] == owner[1] != "0"
    assert f"VOLUME {owner[2]}\n" in DOCKERFILE
    assert f"FLASK_CACHE_DIR={owner[2]} " in DOCKERFILE
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE
    assert re.search(r'^ENTRYPOINT \["python", ', DOCKERFILE, re.MULTILINE)  # no shell in between


def test_ports_and_names_agree() -> None:
    """nginx asks the services of compose.yaml at the port of the image, and is itself published."""
    port = re.search(r'"--port", "(\d+)"', DOCKERFILE)
    assert port
    assert f"EXPOSE {port[1]}\n" in DOCKERFILE
    assert f"127.0.0.1:{port[1]}/health/live" in DOCKERFILE
    assert re.findall(r"server (\w+):(\d+)", NGINX) == [(name, port[1]) for name in APPS]
    assert set(COMPOSE["services"]) == {*APPS, "redis", "nginx"}
    listens = re.search(r"listen (\d+);", NGINX)
    assert listens
    (published,) = COMPOSE["services"]["nginx"]["ports"]
    assert published == f"${{LISTEN:-127.0.0.1:{listens[1]}}}:{listens[1]}"
    assert "./nginx.conf:/etc/nginx/nginx.conf:ro" in COMPOSE["services"]["nginx"]["volumes"]


def test_all_instances_are_the_same_and_need_a_token() -> None:
    """Both have one environment: the same store, and a token that has no default."""
    first, second = (COMPOSE["services"][name] for name in APPS)
    assert first == second
    environment = first["environment"]
    assert environment["FLASK_API_TOKEN"].startswith("${API_TOKEN:?")
    assert environment["FLASK_CACHE_URL"] == "redis://redis:6379/0"
    assert (ROOT / "deploy" / first["build"]["context"]).resolve() == ROOT
    assert (ROOT / first["build"]["dockerfile"]).exists()
    assert "--appendonly yes" in COMPOSE["services"]["redis"]["command"]
    assert "noeviction" in COMPOSE["services"]["redis"]["command"]


def test_images_are_of_one_version() -> None:
    """Each has all numbers of its version, so that what is built and started is what was tried."""
    images = [COMPOSE["services"][name]["image"] for name in ("redis", "nginx")]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) == 3
    for image in images:
        assert re.fullmatch(r"\w+:\d+\.\d+\.\d+-[a-z-]+", image)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_containers_are_confined(name: str) -> None:
    """No root, no privileges, nothing to write to but /tmp and a volume, and bounded memory."""
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"] <= 256
    assert service.get("user", "root") != "root" or "build" in service  # the image has its own
    assert service["restart"] == "unless-stopped"


def test_redis_refuses_before_it_is_killed() -> None:
    """Twice its own bound, as it needs while it rewrites its file, is within its container's."""
    redis = COMPOSE["services"]["redis"]
    bound = re.search(r"--maxmemory (\d+)mb", redis["command"])
    assert bound and redis["mem_limit"] == "1g"
    assert 2 * int(bound[1]) < 1024


def test_nginx_ends_idle_connections_before_the_service_does() -> None:
    """So none that nginx takes for alive is closed under a request; slow clients wait in nginx."""
    app = service.create_app({"CACHE_TYPE": "simple"})
    upstream = re.search(r"upstream sharedstate \{.*?keepalive_timeout (\d+)s;", NGINX, re.DOTALL)
    assert upstream and int(upstream[1]) < app.config["HEADER_TIMEOUT"]
    for directive in ("client_header_timeout", "client_body_timeout", "send_timeout"):
        assert re.search(rf"^    {directive} \d+s;", NGINX, re.MULTILINE)


def test_nginx_lets_bodies_through_that_the_service_takes() -> None:
    """Both have the same limit."""
    app = service.create_app({"CACHE_TYPE": "simple"})
    assert f"client_max_body_size {app.config['MAX_CONTENT_LENGTH']};" in NGINX


def test_nginx_says_all_that_the_service_believes_of_a_proxy() -> None:
    """A client cannot forge a header that the service trusts: nginx sets or removes each."""
    trusted = {f"X-Forwarded-{name}" for name in ("For", "Proto", "Host", "Port", "Prefix")}
    assert set(re.findall(r"proxy_set_header (X-\S+)", NGINX)) == trusted
    assert "$proxy_add_x_forwarded_for" not in NGINX
    assert COMPOSE["services"]["app1"]["environment"]["FLASK_PROXIES"] == "1"


def test_the_units_command_is_one_that_exists(tmp_path: Path) -> None:
    """Its arguments are those of ``python app.py``, and its user can write to the state alone."""
    command = re.search(r"^ExecStart=\S+/python (app\.py .*)$", UNIT, re.MULTILINE)
    assert command
    done = subprocess.run(
        [sys.executable, *command[1].split(), "--help"], cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0
    assert "FLASK_CACHE_DIR=%S/sharedstate\n" in UNIT
    assert "StateDirectory=sharedstate\n" in UNIT


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """systemd knows each directive of it, and finds it well confined."""
    unit = tmp_path / "sharedstate.service"
    unit.write_text(
        UNIT.replace("/opt/sharedstate/.venv/bin/python", sys.executable).replace(
            "WorkingDirectory=/opt/sharedstate", f"WorkingDirectory={ROOT}"
        )
    )
    for command in (["verify", "--man=no"], ["security", "--offline=yes", "--threshold=20"]):
        done = subprocess.run(
            ["systemd-analyze", *command, str(unit)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Unknown" not in done.stderr, done.stderr


# Two instances behind nginx, on a real Redis.


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
    value = value.replace("redis://redis:6379", url)
    value = re.sub(r"\$\{API_TOKEN:\?[^}]*\}", TOKEN, value)
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


@contextmanager
def nginx(directory: Path, cluster: Cluster) -> Iterator[None]:
    """Debian's nginx with the configuration of ``deploy/``, but for addresses and paths."""
    configuration = NGINX.replace("listen 8080", f"listen 127.0.0.1:{cluster.port}")
    for name, port in zip(APPS, cluster.apps, strict=True):
        configuration = configuration.replace(f"{name}:5000", f"127.0.0.1:{port}")
    path = directory / "nginx.conf"
    path.write_text(configuration.replace("/tmp/", f"{directory}/"))
    options = "daemon off;"
    if os.geteuid() == 0:
        options += " user root;"
    command = [program("nginx", "/usr/sbin/nginx"), "-p", str(directory), "-e", "stderr"]
    with (directory / "nginx.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "-c", str(path), "-g", options], stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(30) == 0


@contextmanager
def instances(directory: Path, *redis_urls: str) -> Iterator[Cluster]:
    """An instance for each of these ways to Redis, behind nginx."""
    program("nginx", "/usr/sbin/nginx")
    environment = COMPOSE["services"]["app1"]["environment"]
    cluster = Cluster(free_port())
    with ExitStack() as stack:
        for url in redis_urls:
            settings = {
                name.removeprefix("FLASK_"): interpolated(value, url).replace("/0", "/1")
                for name, value in environment.items()
                if value is not None
            }
            port = free_port()
            cluster.apps[port] = stack.enter_context(
                serving(port, "--workers", "2", **settings, LOG_FORMAT="json")
            )
        stack.enter_context(nginx(directory, cluster))
        for port in (*cluster.apps, cluster.port):
            assert ask(port, "GET", "/health/ready")[0] == 200
        yield cluster


@pytest.fixture
def cluster(tmp_path: Path, empty_redis: str) -> Iterator[Cluster]:
    with instances(tmp_path, *[empty_redis.removesuffix("/1")] * len(APPS)) as cluster:
        yield cluster


def numbers(answers: list[Response]) -> list[int]:
    return [json.loads(answer.body)["value"] for answer in answers if answer.status == 200]


@pytest.mark.slow
def test_a_hundred_clients_count_through_nginx(cluster: Cluster) -> None:
    """Both instances together answer 100 clients with the 500 numbers from 1 to 500."""
    answers = rush("127.0.0.1", cluster.port, "POST", "/v1/counters/a", rounds=5, headers=BEARER)
    assert sorted(numbers(answers)) == list(range(1, 501))
    done = []
    for port in cluster.apps:
        text = direct(port, "/metrics").body
        found = re.search(rb'operations_total\{operation="increment"\} (\d+)', text)
        done.append(int(found[1]) if found else 0)
    assert sum(done) == 500
    assert min(done) > 0


@pytest.mark.slow
def test_an_instance_that_is_killed_counts_nothing_twice(cluster: Cluster) -> None:
    """When a worker dies at work, no number is given twice, and the others go on."""
    dying, other = cluster.apps
    worker = json.loads(direct(dying, "/v1/store").body)["worker"]
    with ThreadPoolExecutor(1) as pool:
        rushing = pool.submit(
            rush, "127.0.0.1", cluster.port, "POST", "/v1/counters/a", rounds=40, headers=BEARER
        )
        wait_for(lambda: standing(other) >= 400)
        os.kill(worker, signal.SIGKILL)
        answers = rushing.result()
    given = numbers(answers)
    assert len(given) == len(set(given))
    assert {answer.status for answer in answers} <= {200, 502}
    unknown = len(answers) - len(given)
    assert len(given) <= standing(other) <= len(given) + unknown
    wait_for(lambda: cluster.ask("POST", "/v1/counters/a").status == 200)
    assert cluster.apps[dying].poll() is None


@pytest.mark.slow
def test_a_request_that_lost_its_answer_is_not_sent_again(tmp_path: Path, empty_redis: str) -> None:
    """What Redis had done for an instance when it was killed is done once, and answered by 502."""
    events: SimpleQueue[str] = SimpleQueue()
    with (
        withholding(urlsplit(empty_redis).port, events) as port,
        instances(tmp_path, f"redis://127.0.0.1:{port}", empty_redis.removesuffix("/1")) as cluster,
        ThreadPoolExecutor(1) as pool,
    ):
        dying, other = cluster.apps
        asked, event = 0, "answered"
        while event == "answered":  # nginx soon comes to the instance that gets no answer
            asking = pool.submit(cluster.ask, "POST", "/v1/counters/a")
            asking.add_done_callback(lambda _: events.put("answered"))
            asked, event = asked + 1, events.get(timeout=30)
        assert not asking.done()
        os.killpg(cluster.apps[dying].pid, signal.SIGKILL)
        assert asking.result().status == 502
        assert standing(other) == asked


@contextmanager
def withholding(redis_port: int | None, events: SimpleQueue[str]) -> Iterator[int]:
    """The port of a way to Redis that keeps the answers to increments, and tells when it has one.

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
            """What the instance sends next, with the answers on the way back until then."""
            while instance not in select.select([instance, server], [], [])[0]:
                instance.sendall(server.recv(1 << 16))
            sent = instance.recv(1 << 16)
            server.sendall(sent)
            return sent

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Way) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def direct(port: int, path: str) -> Response:
    """What one instance answers."""
    return rush("127.0.0.1", port, "GET", path, clients=1, rounds=1, headers=BEARER)[0]


def standing(port: int) -> int:
    """What the counter stands at."""
    answer = direct(port, "/v1/counters/a")
    return json.loads(answer.body)["value"] if answer.status == 200 else 0


def wait_for(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come to that")


@pytest.mark.slow
def test_nginx_limits_what_one_address_asks_at_one_time(
    tmp_path: Path, empty_redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above its limit a request is 429, and others' are answered when it has gone down."""
    limited = NGINX.replace("limit_conn clients 200;", "limit_conn clients 2;")
    assert limited != NGINX
    monkeypatch.setitem(globals(), "NGINX", limited)
    head = f"POST /v1/counters/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
    with instances(
        tmp_path, empty_redis.removesuffix("/1"), empty_redis.removesuffix("/1")
    ) as cluster:
        with ExitStack() as stack:

            def refused_beside_another() -> bool:
                # nginx refuses this one too while it still counts an earlier request, so that two
                # may not be enough.
                waiting = socket.create_connection(("127.0.0.1", cluster.port), timeout=30)
                stack.enter_context(waiting).sendall(f"{head}Content-Length: 2\r\n\r\n".encode())
                return cluster.ask("POST", "/v1/counters/b").status == 429

            wait_for(refused_beside_another)
            answer = cluster.ask("POST", "/v1/counters/b")
            assert (answer.status, json.loads(answer.body)["status"]) == (429, 429)
        wait_for(lambda: cluster.ask("GET", "/v1/store").status == 200)


@pytest.mark.slow
def test_nginx_passes_on_what_it_should(cluster: Cluster, tmp_path: Path) -> None:
    """Keys as they are, ids, origins, bodies as large as they may be; metrics and tokens not."""
    key = "a//b%2Fc%20d/../e"
    wanted = {"key": "a//b/c d/../e", "value": 1}
    answer = cluster.ask("POST", f"/v1/counters/{key}", **{"X-Request-ID": "from-the-client"})
    assert json.loads(answer.body) == wanted
    assert cluster.ask("GET", "/metrics").status == 404
    origin = {"Origin": f"http://127.0.0.1:{cluster.port}"}
    assert cluster.ask("POST", "/v1/counters/a", **origin).status == 200
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
    assert [answer.status for answer in large] == [201, 413]
    assert json.loads(large[1].body)["status"] == 413
    log = (tmp_path / "nginx.log").read_text()
    assert "from-the-client" in log
    assert TOKEN not in log
