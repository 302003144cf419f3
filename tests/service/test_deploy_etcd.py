"""``deploy/compose.etcd.yaml``, as far as it can be checked without Docker: its members run."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from backends import program
from etcd_servers import Cluster, Member

from race.servers.processes import reserved_port, running
from service.settings import DEFAULTS
from sharedstate import State

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.etcd.yaml").read_text())
ON_REDIS: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
APPS = ("app1", "app2")
MEMBERS = ("etcd1", "etcd2", "etcd3")


def test_it_is_as_the_one_on_redis_but_for_the_store() -> None:
    """The instances differ in what concerns the store only, and nginx in nothing."""
    first, second = (dict(SERVICES[name]) for name in APPS)
    assert first == second
    theirs = dict(ON_REDIS["services"]["app1"])
    assert first.pop("depends_on") == [*MEMBERS]
    theirs.pop("depends_on")
    own, other = first.pop("environment"), theirs.pop("environment")
    assert first == theirs
    assert own.items() - other.items() == {
        ("FLASK_CACHE_URL", "etcd://etcd1:2379,etcd2:2379,etcd3:2379"),
        ("FLASK_CACHE_TIMEOUT", "5"),
    }
    assert {name.removeprefix("FLASK_") for name in own} - {"CACHE_URL", "CACHE_TIMEOUT"} <= {
        *DEFAULTS
    }
    assert SERVICES["nginx"] == ON_REDIS["services"]["nginx"]
    assert set(SERVICES) == {*APPS, *MEMBERS, "nginx"}


@pytest.mark.parametrize("name", MEMBERS)
def test_members_are_confined_and_apart(name: str) -> None:
    """Each is confined as all containers are, publishes nothing, and has a volume of its own."""
    member = SERVICES[name]
    for setting in ("read_only", "tmpfs", "cap_drop", "security_opt", "pids_limit", "restart"):
        assert member[setting] == ON_REDIS["services"]["redis"][setting]
    assert "ports" not in member
    (volume,) = member["volumes"]
    assert volume.startswith(f"{name}:")
    assert name in COMPOSE["volumes"]
    recipe = member["build"]["dockerfile_inline"]
    directory = volume.partition(":")[2]
    assert member["environment"]["ETCD_DATA_DIR"].startswith(f"{directory}/")
    assert f"--owner {member['user'].partition(':')[0]} " in recipe
    assert recipe.count(directory) == 1


@pytest.mark.slow
def test_the_members_are_one_cluster(tmp_path: Path) -> None:
    """Started with this environment they find each other, and serve what the instances are told."""
    with ExitStack() as stack:
        ports = {
            f"{name}:{port}": f"127.0.0.1:{stack.enter_context(reserved_port())}"
            for name in MEMBERS
            for port in (2379, 2380)
        }

        def here(name: str, text: str) -> str:
            text = text.replace("0.0.0.0", name).replace("/var/lib/sharedstate-etcd", f"{tmp_path}")
            return re.sub(r"etcd\d:\d+", lambda found: ports[found[0]], text)

        for name in MEMBERS:
            environment = {
                key: here(name, value).replace(f"{tmp_path}/data", f"{tmp_path}/{name}")
                for key, value in SERVICES[name]["environment"].items()
            }
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            command = [program("etcd")]
            stack.enter_context(running(command, log, env=os.environ | environment, patience=0.5))
        members = [
            Member(name, *(int(ports[f"{name}:{port}"].partition(":")[2]) for port in (2379, 2380)),
                   tmp_path)
            for name in MEMBERS
        ]  # fmt: skip
        Cluster(members).wait()
        url = here("", SERVICES["app1"]["environment"]["FLASK_CACHE_URL"])
        settings = {"CACHE_URL": url, "CACHE_TIMEOUT": "30"}
        with closing(State.from_settings(settings)) as state:
            assert state.inc("n") == 1
        reply = members[0].ask("cluster/member/list", {})
        assert {each["name"] for each in reply["members"]} == {*MEMBERS}
