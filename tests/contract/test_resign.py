"""Records are signed again with another key, and moved between signed and unsigned states."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from signed_caches import NEW, OLD, ON_A_SERVER, bomb, opened, put, raw, run  # noqa: F401  # fixtures

from sharedstate import Cache, NotSerializable
from sharedstate.codec import PickleCodec, SignedPickleCodec


@ON_A_SERVER
class TestResign:
    def test_after_a_rotation(self, opened: Any) -> None:
        """Every pickle gets a signature of the present key; expiries and all else stay."""
        old = opened(SECRET_KEY=OLD)
        old.set("value", "x", 500)
        old.inc("counter")
        old.state.namespace("other").set("value", "y")
        old.cache.results.set("result", "z")
        new = opened(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[OLD])
        new.set("new", "n")
        looked = run(new, "resign", "--dry-run", "--json")
        done = run(new, "resign", "--json")
        assert looked.stdout == done.stdout
        assert json.loads(done.stdout) == {
            "valid": 1,
            "resigned": 3,
            "unsigned": 0,
            "refused": 0,
        }
        assert done.exit_code == 0
        alone = opened(SECRET_KEY=NEW)
        assert alone.get_many("value", "counter", "new", "result") == ["x", 1, "n", "z"]
        assert alone.state.namespace("other").get("value") == "y"
        assert 400 < (alone.ttl("value") or 0) <= 500

    def test_unsigned(self, opened: Any, bomb: bytes) -> None:
        """What has no signature is left until it is trusted, and is never unpickled."""
        cache = opened(SECRET_KEY=NEW)
        opened(CACHE_CODEC="pickle").set("old", "x", 500)
        put(cache, "bomb", bomb)
        refused = run(cache, "resign", "--json")
        assert (refused.exit_code, json.loads(refused.stdout)["unsigned"]) == (1, 2)
        assert "--trust-unsigned" in refused.stderr
        with pytest.raises(NotSerializable):
            cache.get("old")
        done = run(cache, "resign", "--json", "--trust-unsigned")
        assert (done.exit_code, json.loads(done.stdout)["resigned"]) == (0, 2)
        assert cache.get("old") == "x"
        assert 400 < (cache.ttl("old") or 0) <= 500

    def test_forged(self, opened: Any, bomb: bytes) -> None:
        """What was signed with an unknown key is never signed."""
        cache = opened(SECRET_KEY=NEW)
        forged = SignedPickleCodec({"SECRET_KEY": "a guess"}).sign(bomb)
        put(cache, "bomb", forged)
        done = run(cache, "resign", "--trust-unsigned", "--json")
        assert (done.exit_code, json.loads(done.stdout)["refused"]) == (1, 1)
        assert raw(cache, "bomb") == forged

    def test_written_meanwhile(self, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A value that is written while its predecessor is signed is what stays."""
        cache = opened(SECRET_KEY=NEW)
        put(cache, "key", PickleCodec().encode("before"))
        sign = cache.state.codec.sign

        def write_first(raw: bytes) -> bytes:
            if raw == PickleCodec().encode("before"):
                cache.set("key", "after")
            return sign(raw)

        monkeypatch.setattr(cache.state.codec, "sign", write_first)
        assert run(cache, "resign", "--trust-unsigned").exit_code == 0
        assert cache.get("key") == "after"

    def test_nothing_to_sign_with(self, opened: Any) -> None:
        """Where nothing is signed the command says what it takes."""
        for settings in ({"CACHE_CODEC": "json", "SECRET_KEY": NEW}, {}):
            refused = run(opened(**settings), "resign")
            assert refused.exit_code == 1
            assert "SECRET_KEY" in refused.stderr


@pytest.mark.on("memcached")
def test_resign_without_a_listing(opened: Any) -> None:
    """A store that cannot list its keys says so."""
    refused = run(opened(SECRET_KEY=NEW), "resign")
    assert refused.exit_code == 1
    assert "does not support" in refused.stderr


@ON_A_SERVER
class TestMoving:
    """Between a store in the network and a file of one's own, and back."""

    @pytest.fixture
    def local(self, tmp_path: Path) -> Iterator[Cache]:
        app = Flask(__name__)
        app.config.update(CACHE_DIR=tmp_path / "local", SECRET_KEY=NEW, CACHE_KEY_PREFIX="test:")
        cache = Cache(app)
        with closing(cache.state):
            yield cache

    def test_copy_out(self, opened: Any, local: Cache, bomb: bytes, tmp_path: Path) -> None:
        """Into a file pickles go without a signature, and none that may be forged."""
        cache = opened(SECRET_KEY=NEW)
        cache.set("value", {1})
        put(cache, "unsigned", bomb)
        put(cache, "forged", SignedPickleCodec({"SECRET_KEY": "a guess"}).sign(bomb))
        done = run(cache, "copy", "--to", f"filesystem://{tmp_path}/local", "--json")
        expected = {"written": 1, "refused": 0, "differ": 0}
        assert (done.exit_code, json.loads(done.stdout)) == (0, expected)
        assert "without a valid signature (2)" in done.stderr
        assert local.get("value") == {1}
        assert local.keys() == ["value"]

    def test_copy_in(self, opened: Any, local: Cache, cache_settings: Mapping[str, str]) -> None:
        """From a file they are signed on their way."""
        local.set("value", {1})
        local.inc("counter")
        done = run(local, "copy", "--to", cache_settings["CACHE_URL"])
        assert done.exit_code == 0, done.stderr
        assert opened(SECRET_KEY=NEW).get_many("value", "counter") == [{1}, 1]

    def test_backup_of_signed(self, opened: Any, local: Cache, tmp_path: Path) -> None:
        """A backup keeps signatures: it comes back without trust, where pickles are signed."""
        cache, file = opened(SECRET_KEY=NEW), str(tmp_path / "backup")
        cache.set("value", {1})
        assert run(cache, "backup", file).exit_code == 0
        assert run(cache, "restore", "--overwrite", file).exit_code == 0
        assert cache.get("value") == {1}
        refused = run(local, "restore", "--trust-pickle", file)
        assert refused.exit_code == 1
        assert "signed-pickle" in refused.stderr

    def test_backup_of_unsigned(self, opened: Any, local: Cache, tmp_path: Path) -> None:
        """A backup of pickles takes trust, and is signed as it is restored."""
        cache, file = opened(SECRET_KEY=NEW), str(tmp_path / "backup")
        local.set("value", {1})
        assert run(local, "backup", file).exit_code == 0
        assert "--trust-pickle" in run(cache, "restore", file).stderr
        assert run(cache, "restore", "--trust-pickle", file).exit_code == 0
        assert cache.get("value") == {1}

    def test_forged_backup(self, opened: Any, bomb: bytes, tmp_path: Path) -> None:
        """A pickle put into a backup of signed ones is refused where it is read."""
        cache, file = opened(SECRET_KEY=NEW), str(tmp_path / "backup")
        put(cache, "value", bomb)
        assert run(cache, "backup", file).exit_code == 0
        assert run(cache, "restore", "--overwrite", file).exit_code == 0
        with pytest.raises(NotSerializable):
            cache.get("value")

    def test_export(self, opened: Any, local: Cache, bomb: bytes) -> None:
        """Signed lines come back without trust, pickles with it; forged ones never."""
        cache = opened(SECRET_KEY=NEW)
        cache.set("value", {1})
        signed = run(cache, "export").stdout
        assert run(cache, "import", "--overwrite", stdin=signed).exit_code == 0
        local.set("value", {2})
        pickled = run(local, "export").stdout
        assert "--trust-pickle" in run(cache, "import", "--overwrite", stdin=pickled).stderr
        assert run(cache, "import", "--overwrite", "--trust-pickle", stdin=pickled).exit_code == 0
        assert cache.get("value") == {2}
        put(cache, "value", bomb)
        forged = run(cache, "export").stdout
        assert "not signed" in run(cache, "import", "--overwrite", stdin=forged).stderr
