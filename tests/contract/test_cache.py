"""The drop-in ``Cache``: what it adds to Flask-Caching's, and what it must not break."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from cachelib.serializers import JSONSerializer
from flask import Flask, render_template_string
from flask_caching.utils import make_template_fragment_key
from freezegun import freeze_time

from sharedstate import Cache, ConfigurationError, NotSupported, State
from sharedstate.backend import fit_key
from sharedstate.backend.application import current_application

LONG = "x" * 300


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return Flask(__name__, instance_path=str(tmp_path / "instance"))


@pytest.fixture
def cache(app: Flask) -> Cache:
    return Cache(app, config={"CACHE_TYPE": "SimpleCache"})


@pytest.mark.slow
def test_the_popular_recipe_starts_and_shares_among_processes(tmp_path: Path) -> None:
    """The snippet that stands all over the web works, and another process sees its value."""
    recipe = (
        "from pathlib import Path; from flask import Flask; from sharedstate import Cache\n"
        "app, cache = Flask('a'), Cache()\n"
        "cache.init_app(app=app, config="
        f"{{'CACHE_TYPE': 'filesystem', 'CACHE_DIR': Path({str(tmp_path)!r})}})\n"
    )
    write = recipe + "cache.set('my_value', 1_000_000)"
    read = recipe + "print(cache.get('my_value'))"
    subprocess.run([sys.executable, "-c", write], check=True)
    done = subprocess.run([sys.executable, "-c", read], check=True, capture_output=True)
    assert done.stdout == b"1000000\n"


def test_the_default_store_lies_in_the_instance_folder(app: Flask) -> None:
    """Without any setting the state is in a folder of the instance folder, made when missing."""
    cache = Cache(app)
    assert not Path(app.instance_path).exists()
    cache.set("a", 1)
    assert [file.name for file in Path(app.instance_path).iterdir()] == ["sharedstate"]
    assert cache.state.store.name == "filesystem"
    assert cache.ttl("a") == 0


def test_what_is_never_set_to_expire_stays(app: Flask, cache: Cache) -> None:
    """Neither Flask-Caching's 300 seconds nor its 500 entries end what is stored."""
    for number in range(1000):
        cache.set(str(number), number)
    cache.state.store.clock = lambda: 4e9
    assert cache.get_many(*map(str, range(1000))) == list(range(1000))


def test_a_default_timeout_is_kept_as_a_setting(app: Flask) -> None:
    """``CACHE_DEFAULT_TIMEOUT`` keeps its meaning where it is set."""
    app.config["CACHE_DEFAULT_TIMEOUT"] = 60
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    cache.set("a", 1)
    assert 59 < (cache.ttl("a") or 0) <= 60


@pytest.mark.parametrize("name", ["simple", "filesystem", "lmdb"])
def test_the_time_of_a_test_is_that_of_the_store(app: Flask, name: str) -> None:
    """What freezes and moves ``time.time`` decides when a value expires, on an embedded store."""
    cache = Cache(app, config={"CACHE_TYPE": name})
    with freeze_time("2030-01-01") as clock:
        cache.set("a", 1, timeout=60)
        clock.tick(59)
        assert (cache.get("a"), cache.ttl("a")) == (1, 1)
        clock.tick(2)
        assert cache.get("a") is None
    cache.state.close()


def test_each_application_has_its_own_state(tmp_path: Path) -> None:
    """One cache of two applications uses the store of the application whose context it is in."""
    cache = Cache()
    apps = [Flask(name) for name in ("one", "two")]
    for app in apps:
        cache.init_app(app, config={"CACHE_TYPE": "simple"})
    with apps[0].app_context():
        cache.set("who", "one")
    with apps[1].app_context():
        assert cache.get("who") is None
    with apps[0].test_request_context():
        assert cache.get("who") == "one"


def test_two_applications_outside_a_context_are_an_error() -> None:
    """Outside a context nobody can say which of two applications is meant."""
    cache = Cache()
    apps = [Flask(name) for name in ("one", "two")]
    for app in apps:
        cache.init_app(app, config={"CACHE_TYPE": "simple"})
    with pytest.raises(RuntimeError, match="app_context"):
        cache.get("a")


def test_a_cache_without_an_application_says_what_to_do() -> None:
    """An uninitialized cache names ``init_app``."""
    with pytest.raises(RuntimeError, match="init_app"):
        Cache().get("a")
    cache = Cache(Flask("one"), config={"CACHE_TYPE": "simple"})
    with Flask("other").app_context(), pytest.raises(RuntimeError, match="init_app"):
        cache.get("a")


def test_long_paths_are_cached(app: Flask, cache: Cache) -> None:
    """A view whose path is longer than a key may be is cached, and deleted, all the same."""
    calls = []

    @app.get("/<path:path>")
    @cache.cached()
    def view(path: str) -> str:
        calls.append(path)
        return path

    client = app.test_client()
    for _ in range(2):
        assert client.get(f"/{LONG}\x01").status_code == 200
    assert len(calls) == 1
    assert cache.delete_cached(view, path=f"/{LONG}\x01")
    client.get(f"/{LONG}\x01")
    assert len(calls) == 2


def test_custom_keys_of_any_length_are_cached(app: Flask, cache: Cache) -> None:
    """What ``make_cache_key`` returns may be longer than a key."""
    calls = []

    @cache.cached(make_cache_key=lambda: LONG)
    def value() -> int:
        calls.append(1)
        return len(calls)

    with app.test_request_context():
        assert (value(), value()) == (1, 1)


def test_memoized_arguments_of_any_length_are_cached(app: Flask, cache: Cache) -> None:
    """``memoize`` works for an instance whose ``repr`` is longer than a key, and deletes it."""

    class Adder:
        def __repr__(self) -> str:
            return LONG

        @cache.memoize()
        def add(self, number: int) -> int:
            calls.append(number)
            return number

    calls: list[int] = []
    adder = Adder()
    with app.app_context():
        adder.add(1), adder.add(1)
        assert calls == [1]
        cache.delete_memoized(adder.add)
        adder.add(1)
    assert calls == [1, 1]


def test_template_fragments_of_any_name_are_cached(app: Flask, cache: Cache) -> None:
    """The template tag caches its fragment, also under a name longer than a key."""
    template = "{% cache 60, name %}{{ number }}{% endcache %}"
    with app.test_request_context():
        for name in ("short", LONG):
            shown = [render_template_string(template, name=name, number=n) for n in (1, 2)]
            assert shown == ["1", "1"]
        assert cache.delete(fit_key(make_template_fragment_key("short")))


def test_a_serializer_of_cachelibs_is_used(app: Flask) -> None:
    """``CACHE_SERIALIZER`` keeps its meaning, and counters work beside it."""
    app.config["CACHE_SERIALIZER"] = JSONSerializer
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    cache.set("a", {"b": [1]})
    cache.set("n", 41)
    assert cache.get("a") == {"b": [1]}
    assert cache.inc("n") == 42
    assert cache.state.codec.name == "JSONSerializer"


@pytest.mark.parametrize("name", ["NullCache", "cachelib.SimpleCache"])
def test_flask_cachings_backends_work_but_are_not_called_exact(app: Flask, name: str) -> None:
    """A backend of Flask-Caching's works as it did; what it cannot do exactly, it refuses."""
    cache = Cache(app, config={"CACHE_TYPE": name, "CACHE_NO_NULL_WARNING": True})
    cache.set("a", 1)
    cache.add("a", 1)
    with pytest.raises(NotSupported, match=r"NullCache|SimpleCache"):
        cache.inc("a")


@pytest.mark.parametrize("name", ["nosuch", "BaseCaches"])
def test_an_unknown_type_says_which_there_are(app: Flask, name: str) -> None:
    """The error for an unknown ``CACHE_TYPE`` lists the known ones."""
    with pytest.raises(ConfigurationError, match=r"filesystem.*lmdb.*redis.*simple"):
        Cache(app, config={"CACHE_TYPE": name})


@pytest.mark.parametrize(("several", "warnings"), [(True, 1), (False, 0)])
def test_several_processes_on_simple_are_reported_once(
    app: Flask, cache: Cache, caplog: pytest.LogCaptureFixture, several: bool, warnings: int
) -> None:
    """The first request on a server of several processes says that they share nothing."""
    app.get("/")(lambda: "")
    for _ in range(3):
        app.test_client().get("/", environ_overrides={"wsgi.multiprocess": several})
    assert caplog.text.count("each counts for itself") == warnings


def test_what_wraps_the_application_stays_around_it(app: Flask, cache: Cache) -> None:
    """Middleware that is put around the application after the cache sees every request."""
    seen, wrapped = [], app.wsgi_app

    def middleware(environ, start_response):
        seen.append(environ["PATH_INFO"])
        return wrapped(environ, start_response)

    app.wsgi_app = middleware
    app.get("/<path>")(lambda path: path)
    for path in ("/a", "/b", "/c"):
        app.test_client().get(path, environ_overrides={"wsgi.multiprocess": True})
    assert seen == ["/a", "/b", "/c"]


def test_operations_are_documented_where_users_look() -> None:
    """``help(Cache.inc)`` and an instance's method show the contract's text."""
    assert Cache.inc.__doc__ == State.inc.__doc__
    assert "atomic" in (State.__doc__ or "")


def test_the_current_application_is_found():
    """The innermost context's, and none outside of all."""
    first, second = Flask("first"), Flask("second")
    assert current_application() is None
    with first.test_request_context():
        assert current_application() is first
        with second.app_context():
            assert current_application() is second
        assert current_application() is first
    assert current_application() is None


def test_an_application_that_is_gone_does_not_count(app: Flask, tmp_path: Path):
    """Outside all contexts the one application that is left is used, whichever came last."""
    settings = {"CACHE_TYPE": "filesystem", "CACHE_DIR": str(tmp_path / "state")}
    cache = Cache(app, config=settings)
    cache.set("k", 1)
    later = Flask("later")
    cache.init_app(later, config=settings)
    with pytest.raises(RuntimeError, match="2 applications"):
        cache.get("k")
    cache.app = app  # Flask-Caching's own, which would keep the other one.
    del later
    gc.collect()
    assert cache.get("k") == 1
