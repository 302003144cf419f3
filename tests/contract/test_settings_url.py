"""Stores that a URL chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
from backends import innermost
from flask import Flask

from sharedstate import Cache, ConfigurationError
from sharedstate.stores.registry import SCHEMES, STORES, open_store, type_name

REDIS = "redis://:secret@example.org:7000/3"


class TestURL:
    @pytest.mark.parametrize(
        ("url", "name"),
        [
            *(("filesystem:///var/lib/app", "filesystem"), ("lmdb:///var/lib/app", "lmdb")),
            *((REDIS, "redis"), ("rediss://host", "redis"), ("unix:///run/redis.sock", "redis")),
            *(("simple:", "simple"), ("simple://", "simple"), ("SIMPLE:", "simple")),
        ],
    )
    def test_schemes(self, url, name):
        """The scheme selects the store."""
        assert type_name({"CACHE_URL": url}) == name
        assert type_name({"CACHE_URL": url, "CACHE_TYPE": name}) == name
        assert open_store({"CACHE_URL": url}).name == name

    @pytest.mark.parametrize("asked", ["lmdb", "SimpleCache", "nonsense"])
    def test_contradiction(self, asked):
        """A URL that leads to another store than `CACHE_TYPE` names is refused."""
        with pytest.raises(ConfigurationError, match="CACHE_TYPE.*CACHE_URL leads to 'redis'"):
            open_store({"CACHE_URL": REDIS, "CACHE_TYPE": asked})

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            *(("CACHE_REDIS_UR", "CACHE_REDIS_URL"), ("CACHE_DEFAULT_TIMOUT", "CACHE_DEFAULT_T")),
            *(("CACHE_DIRS", "CACHE_DIR"), ("CACHE_REDIS_SENTINEL", "CACHE_REDIS_SENTINELS")),
        ],
    )
    def test_misspelt(self, name, meant, tmp_path):
        """A name that is nearly a setting's is refused, to a `Cache` too; any other is not ours."""
        with pytest.raises(ConfigurationError, match=f"{name}; did you mean {meant}"):
            Cache(Flask(__name__), config={"CACHE_DIR": tmp_path, name: "x"})
        open_store({"CACHE_DIR": tmp_path, "CACHE_OF_MINE": 1})

    def test_did_you_mean(self):
        """A type that is nearly one of ours is named."""
        with pytest.raises(ConfigurationError, match="did you mean 'filesystem'"):
            Cache(Flask(__name__), config={"CACHE_TYPE": "filesytem"})

    def test_each_scheme_is_a_store(self):
        """Each scheme leads to a store that there is."""
        assert set(SCHEMES.values()) == set(STORES)

    @pytest.mark.parametrize("scheme", ["filesystem", "lmdb"])
    @pytest.mark.parametrize(
        ("path", "directory"),
        [
            *(("/var/lib/app", "/var/lib/app"), ("/a%20b/%C3%A4", "/a b/ä"), ("/a%2525", "/a%25")),
            *(("/with:colon@at", "/with:colon@at"), ("/trailing/", "/trailing")),
        ],
    )
    def test_path(self, scheme, path, directory):
        """The path of a URL, with percent-escapes undone, is the directory."""
        store = open_store({"CACHE_URL": f"{scheme}://{path}", "CACHE_DIR": "/elsewhere"})
        assert innermost(store).directory == Path(directory)

    @pytest.mark.parametrize("url", ["filesystem:", "filesystem://", "lmdb:"])
    def test_without_path(self, url, tmp_path):
        """A URL without a path leaves the directory to `CACHE_DIR`."""
        store = open_store({"CACHE_URL": url, "CACHE_DIR": tmp_path})
        assert innermost(store).directory == tmp_path
        with pytest.raises(ConfigurationError, match="CACHE_DIR"):
            open_store({"CACHE_URL": url})

    @pytest.mark.parametrize("url", ["filesystem://var/lib/app", "lmdb://host/path", "simple://x"])
    def test_host_in_a_path(self, url):
        """A path that lacks its third slash is an error that says so, not another directory."""
        with pytest.raises(ConfigurationError, match="CACHE_URL.*three slashes"):
            open_store({"CACHE_URL": url})

    @pytest.mark.parametrize(
        "url",
        ["oracle://host", "redis+x://host", "/var/lib/app", "redis", "http://host", "://", " "],
    )
    def test_unknown_scheme(self, url):
        """Another scheme, or none, is an error that says which there are."""
        with pytest.raises(ConfigurationError, match="CACHE_URL") as caught:
            open_store({"CACHE_URL": url})
        assert all(scheme in str(caught.value) for scheme in SCHEMES)

    @pytest.mark.parametrize("url", ["redis://[::1", "lmdb://[", 5], ids=repr)
    def test_no_url(self, url):
        """What is no URL is an error that names the setting."""
        with pytest.raises(ConfigurationError, match="CACHE_URL"):
            open_store({"CACHE_URL": url})

    @pytest.mark.parametrize("url", [None, ""])
    def test_none(self, url):
        """An empty URL is none."""
        assert open_store({"CACHE_URL": url, "CACHE_TYPE": "simple"}).name == "simple"

    def test_secret(self):
        """A store does not tell the password that its URL has."""
        described = open_store({"CACHE_URL": REDIS}).describe()
        assert "secret" not in str(described)
        assert "example.org:7000" in described["location"]
