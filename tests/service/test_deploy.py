"""What is in ``deploy/``, as far as it can be checked without Docker and root."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import app as service
from service.server import serve
from service.settings import DEFAULTS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
NGINX = (DEPLOY / "nginx.conf").read_text()
UNIT = (DEPLOY / "sharedstate.service").read_text()
APPS = ("app1", "app2")


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


def test_the_units_command_is_one_that_exists() -> None:
    """Its arguments are those of ``python app.py``, and its user can write to the state alone."""
    command = re.search(r"^ExecStart=\S+/python app\.py (.*)$", UNIT, re.MULTILINE)
    assert command
    assert serve._parse(command[1].split()).port
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
