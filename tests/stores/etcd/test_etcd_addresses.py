"""Where an address of etcd leads, and who is let in."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from backends import program
from etcd_servers import etcd_cluster

from sharedstate import ConfigurationError, State, StoreUnavailable
from sharedstate.stores.etcd.members import Login
from sharedstate.stores.etcd.store import EtcdStore
from sharedstate.stores.registry import open_store

# Where it leads.


@pytest.mark.parametrize(
    "url, location",
    [
        ("etcd://a", "etcd://a:2379/sharedstate"),
        ("etcd://a:1,b:2,[::1]:3", "etcd://a:1,b:2,[::1]:3/sharedstate"),
        ("etcds://user:secret@a/app", "etcds://a:2379/app"),
    ],
)
def test_urls(url: str, location: str) -> None:
    """A URL names the members, a namespace, and a login that is not shown."""
    assert open_store({"CACHE_URL": url}).describe()["location"] == location


def test_bad_options(tmp_path: Path) -> None:
    """What TLS is not told, or cannot read, is refused when the application is made."""
    for options in ({"verify": False}, {"ca_certs": str(tmp_path / "missing")}, {"cert_file": 5}):
        with pytest.raises(ConfigurationError, match="CACHE_OPTIONS"):
            open_store({"CACHE_URL": "etcds://a", "CACHE_OPTIONS": options})


@pytest.mark.parametrize("url", ["etcd://", "etcd://user@a", "etcd://a:99999", "etcd://a/b@c"])
def test_bad_urls(url: str) -> None:
    """What could be read in two ways is refused when the application is made."""
    with pytest.raises(ConfigurationError):
        open_store({"CACHE_URL": url})


def test_nobody_there() -> None:
    """Members that refuse connections are reported at once, and nothing was applied."""
    store = EtcdStore([("127.0.0.1", 1), ("127.0.0.1", 2)])
    with pytest.raises(StoreUnavailable, match="127.0.0.1:1,127.0.0.1:2") as caught:
        State(store).inc("n")
    assert not caught.value.outcome_unknown


# Who may.


@pytest.mark.slow
def test_login() -> None:
    """A user gets in, also after its token has ended; others are told what to do."""
    with etcd_cluster("--auth-token-ttl", "1", size=1) as cluster:
        member = cluster.members[0]
        names = {"name": "root", "password": "s3cret"}
        member.ask("auth/user/add", names)
        member.ask("auth/role/add", {"name": "root"})
        member.ask("auth/user/grant", {"user": "root", "role": "root"})
        member.ask("auth/enable", {})
        with cluster.state() as nobody, pytest.raises(ConfigurationError, match="user"):
            nobody.inc("n")
        with cluster.state(login=Login("root", "wrong")) as stranger:
            with pytest.raises(ConfigurationError, match="password"):
                stranger.inc("n")
        with cluster.state(login=Login("root", "s3cret")) as state:
            assert state.inc("n") == 1
            state.store._members._token = "ended.1"
            assert state.inc("n") == 2
            assert state.store.measure()["entries"] == 1


@pytest.mark.slow
def test_tls(tmp_path: Path) -> None:
    """Members are reached by ``etcds://`` if their certificate is trusted."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        [
            *(program("openssl"), "req", "-x509", "-nodes", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    with etcd_cluster(size=1, tls=(certificate, key)) as cluster:
        url = cluster.url.replace("etcd:", "etcds:")
        trusting = {"CACHE_URL": url, "CACHE_OPTIONS": {"ca_certs": certificate}}
        with closing(State(open_store(trusting))) as state:
            assert state.inc("n") == 1
        with closing(State(open_store({"CACHE_URL": url}))) as state:
            with pytest.raises(StoreUnavailable, match="CERTIFICATE") as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
