"""Passwords, users and certificates of a Redis server."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import redis
from backends import give_up
from redis_servers import redis_server
from redis_states import state_at

from race.servers.processes import reserved_port
from sharedstate import (
    State,
    StoreUnavailable,
)
from sharedstate.cli.check import check_state


def test_a_password_is_used_and_not_shown(tmp_path: Path) -> None:
    """A server with a password lets us in with it, and a wrong one is a clear error."""
    with redis_server(tmp_path, "--save", "", "--requirepass", "secret") as server:
        port = server.port  # type: ignore[attr-defined]
        for state in (
            state_at(f"redis://:secret@127.0.0.1:{port}/0"),
            State.from_settings(
                {
                    "CACHE_TYPE": "RedisCache",
                    "CACHE_REDIS_HOST": "127.0.0.1",
                    "CACHE_REDIS_PORT": port,
                    "CACHE_REDIS_PASSWORD": "secret",
                }
            ),
        ):
            assert state.inc("a") == 1
            assert "secret" not in str(state.store.describe())
            state.close()
        wrong = state_at(f"redis://:wrong@127.0.0.1:{port}/0")
        with pytest.raises(StoreUnavailable, match="(?i)password") as caught:
            wrong.inc("a")
        assert not caught.value.outcome_unknown
        wrong.close()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
@pytest.mark.parametrize("login", ["", ":wrong@", "somebody:secret@"])
def test_a_login_that_fails_names_its_setting(tmp_path: Path, scheme: str, login: str) -> None:
    """Who is not let in reads which setting to correct, and not to start the server."""
    with redis_server(tmp_path, "--save", "", "--requirepass", "secret") as server:
        port = server.port  # type: ignore[attr-defined]
        state = state_at(f"redis://{login}127.0.0.1:{port}")
        if scheme != "redis":
            state = State.from_settings({"CACHE_URL": f"{scheme}://{login}127.0.0.1:{port}"})
        with (
            closing(state),
            pytest.raises(StoreUnavailable, match="CACHE_REDIS_PASSWORD") as caught,
        ):
            state.inc("a")
        assert not caught.value.outcome_unknown
        state.store = state.store._store  # type: ignore[attr-defined]  # without the breaker
        ((_, problem),) = check_state(state)
        state.close()
    assert "CACHE_REDIS_PASSWORD" in problem
    assert "start the store" not in problem


def test_a_user_who_may_not_write(state: State, server: redis.Redis, empty_redis: str) -> None:
    """A user without the right to a command reads so, and nothing has happened."""
    server.acl_setuser(
        "reader", enabled=True, nopass=True, categories=["+@all", "-@write"], keys="*"
    )
    try:
        url = empty_redis.replace("redis://", "redis://reader:x@")
        with closing(state_at(url)) as reader:
            with pytest.raises(StoreUnavailable, match="(?i)permission.*ACL") as caught:
                reader.inc("n")
            assert not caught.value.outcome_unknown
    finally:
        server.acl_deluser("reader")


def test_tls_is_used(tmp_path: Path) -> None:
    """``rediss://`` checks the server's certificate and counts through TLS."""
    if not shutil.which("openssl"):
        give_up("openssl is missing")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    options = ["--save", "", "--tls-auth-clients", "no", *map(str, tls)]
    with (
        reserved_port() as port,
        redis_server(tmp_path, *options, "--tls-port", str(port)),
    ):
        state = state_at(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
        assert state.inc("a") == 1
        state.close()
        untrusting = state_at(f"rediss://127.0.0.1:{port}")
        with pytest.raises(StoreUnavailable, match="(?i)certificate"):
            untrusting.inc("a")
        untrusting.close()
