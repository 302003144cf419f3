"""``/metrics``: exact numbers of all worker processes, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from served import SECONDS

import app as service
from common import cache
from race.clients.rush import rush
from race.servers.serve import serve
from service import metrics
from service.tallies import Tallies
from sharedstate import ConfigurationError, StoreUnavailable
from sharedstate.stores.memory import MemoryStore

ROOT = Path(__file__).parents[2]
COUNTER = "/v1/counters/<key:key>"


def samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name, by the values of their labels in the order of the labels' names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"sharedstate_{name}"
    }


@pytest.fixture
def app() -> Iterator[Flask]:
    app = service.create_app({"TESTING": True, "CACHE_TYPE": "simple"})
    with app.app_context():
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def shown(client: FlaskClient, name: str) -> dict[tuple[str, ...], float]:
    return samples(client.get("/metrics").text, name)


def test_requests_are_counted_by_route_and_status(client: FlaskClient) -> None:
    """Each request is in one histogram of its method, route and status, with its seconds."""
    for key in ("a", "a", "b"):
        client.post(f"/v1/counters/{key}")
    client.get("/v1/counters/missing")
    text = client.get("/metrics").text
    counts = samples(text, "http_request_duration_seconds_count")
    assert counts == {("POST", COUNTER, "200"): 3, ("GET", COUNTER, "404"): 1}
    buckets = samples(text, "http_request_duration_seconds_bucket")
    assert buckets["+Inf", "POST", COUNTER, "200"] == 3
    seconds = samples(text, "http_request_duration_seconds_sum")
    assert 0 < seconds["POST", COUNTER, "200"] < 30


def test_a_request_is_in_the_buckets_that_have_room_for_it() -> None:
    """A bucket has the requests that took no longer than its bound, those below included."""
    counted = metrics.Metrics(Tallies())
    for seconds in (0.0001, 0.0005, 0.3, 60):
        counted.request("GET", "/", 200, seconds)
    family = next(iter(counted.collect()))
    found = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert [found[le] for le in ("0.0005", "0.25", "0.5", "5.0", "+Inf")] == [2, 2, 3, 3, 4]


def test_clients_cannot_make_up_labels(client: FlaskClient) -> None:
    """Paths and methods that are not the service's are one label together."""
    for path in ("/nope", "/nope/2"):
        client.get(path)
    client.open("/nope", method="BREW")
    client.open("/v1/counters/a", method="BREW")
    counts = shown(client, "http_request_duration_seconds_count")
    assert counts == {
        ("GET", "none", "404"): 2,
        ("other", "none", "404"): 1,
        ("other", "none", "405"): 1,
    }


def test_an_answer_that_cannot_be_finished_is_counted_once(app: Flask) -> None:
    """A bug after a view is a 500 with its id, counted once."""
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.after_request
    def fail(response):
        if response.content_type != "text/plain; version=0.0.4; charset=utf-8":
            raise ZeroDivisionError
        return response

    response = app.test_client().get("/health/live")
    assert response.status_code == 500
    assert response.headers.getlist("X-Request-ID")
    counts = shown(app.test_client(), "http_request_duration_seconds_count")
    assert counts == {("GET", "/health/live", "500"): 1}


def test_operations_on_the_store_are_counted(client: FlaskClient) -> None:
    """What the routes and the library do with the store is there by its kind, errors too."""
    client.put("/v1/values/a", json={"value": "text"})
    client.post("/v1/counters/a")
    client.post("/v1/counters/b", headers={"Idempotency-Key": "x"})
    client.get("/v1/values/a")
    with cache.lock("a"):
        pass
    assert shown(client, "store_operations_total") == {
        ("exchange",): 1,
        ("increment",): 2,
        ("once",): 1,
        ("read",): 1,
        ("add",): 1,
        ("swap",): 2,
    }
    assert shown(client, "store_errors_total") == {("NotACounter",): 1}


def test_errors_of_the_store_are_counted_by_the_librarys_name(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store's own kind of error is counted as what the library documents."""

    class Refused(StoreUnavailable):
        pass

    def fail(*arguments):
        raise Refused("no")

    monkeypatch.setattr(MemoryStore, "values", fail)
    monkeypatch.setattr(MemoryStore, "read", fail)
    client.get("/v1/values/a")
    assert shown(client, "store_errors_total") == {("StoreUnavailable",): 1}


def test_conflicts_and_lock_waits_are_counted(client: FlaskClient) -> None:
    """They are 0 until a compare-and-set finds another value, or a lock is held."""
    names = ("compare_and_set_conflicts_total", "lock_waits_total")
    assert [shown(client, name) for name in names] == [{(): 0}] * 2
    cache.set("a", 1)
    cache.compare_and_set("a", 2, 3)
    cache.compare_and_set("a", 1, 3)
    metrics.lock_held()
    assert [shown(client, name) for name in names] == [{(): 1}] * 2


def test_both_formats_can_be_read(client: FlaskClient) -> None:
    """Prometheus gets OpenMetrics when it asks for it, and plain text otherwise."""
    client.get("/health/live")
    plain = client.get("/metrics")
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert plain.headers["Cache-Control"] == "no-store"
    accept = {"Accept": "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"}
    modern = client.get("/metrics", headers=accept)
    assert modern.content_type.startswith("application/openmetrics-text; version=1.0.0")
    names = [family.name for family in openmetrics_families(modern.text)]
    assert "sharedstate_http_request_duration_seconds" in names


def test_numbers_of_one_process_among_several_are_not_shown(
    client: FlaskClient, tmp_path: Path
) -> None:
    """Without a common directory several processes have no right numbers, and say what to set."""
    several = {"wsgi.multiprocess": True}
    response = client.get("/metrics", environ_overrides=several)
    assert (response.status_code, response.mimetype) == (501, "application/problem+json")
    assert "METRICS_DIR" in response.get_json(force=True)["detail"]
    shared = service.create_app({"CACHE_TYPE": "simple", "METRICS_DIR": str(tmp_path / "new")})
    response = shared.test_client().get("/metrics", environ_overrides=several)
    assert response.status_code == 200


def test_a_directory_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path) -> None:
    """A file in the place of the directory is reported with the setting's name."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="METRICS_DIR"):
        service.create_app({"CACHE_TYPE": "simple", "METRICS_DIR": str(tmp_path / "file")})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gunicorn-sync", "granian"])
def test_every_worker_shows_what_all_have_done(tmp_path: Path, name: str) -> None:
    """After 400 requests of 100 clients at once, any worker's response has all of them."""
    env = {"FLASK_CACHE_DIR": str(tmp_path / "state"), "FLASK_METRICS_DIR": str(tmp_path / "all")}
    with serve(name, cwd=ROOT, env=env, timeout=SECONDS) as server:
        responses = rush(
            server.host, server.port, "POST", "/v1/counters/a", rounds=4, timeout=SECONDS
        )
        assert {response.status for response in responses} == {200}
        for _ in range(8):
            with urlopen(f"{server.url}/metrics") as response:
                text = response.read().decode()
            counts = samples(text, "http_request_duration_seconds_count")
            assert counts["POST", COUNTER, "200"] == 400
            assert samples(text, "store_operations_total")["increment",] == 400
        assert len(list((tmp_path / "all").iterdir())) > 1
