"""The table of the database store: who makes it, and what leaves it."""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import partial
from typing import Any

import crowd
import pytest
from backends import FakeClock
from database_servers import (
    TABLE,
)
from databases import (
    Execute,
    client_of,
    number_of,
    state_at,
)
from sqlalchemy import make_url

from race.judging.checkers import exactly_one_to
from sharedstate import ConfigurationError, State
from sharedstate.stores.database.store import ddl


class TestTable:
    @pytest.mark.slow
    def test_many_makers(self, url: str) -> None:
        """Of many processes that find no table one makes it, and the others go on."""
        with client_of(url) as execute:
            execute(f"DROP TABLE IF EXISTS {TABLE}")
        outcome = crowd.run("forked", partial(state_at, url), _inc_once, 5, number_of)
        assert exactly_one_to([call.result for call in outcome.answers], 5)
        assert outcome.found == 5

    @pytest.mark.slow
    def test_may_not_make_it(self, server_url: str) -> None:
        """A user who may make no table gets the statements for it, and can use what they make."""
        plain = make_url(server_url).set(username="plain", password="secret")
        plain_url = plain.render_as_string(hide_password=False)
        with client_of(server_url) as execute:
            execute(f"DROP TABLE IF EXISTS {TABLE}")
            if plain.get_backend_name() == "postgresql":
                execute("CREATE USER plain PASSWORD 'secret'")
            else:
                execute("CREATE USER plain IDENTIFIED BY 'secret'")
                execute("GRANT SELECT, INSERT, UPDATE, DELETE ON shared.* TO plain")
            state = state_at(plain_url)
            try:
                with pytest.raises(ConfigurationError, match="CREATE TABLE") as caught:
                    state.inc("n")
                assert ddl(plain_url) in str(caught.value)
                assert "secret" not in str(caught.value)
                _make_table(execute, ddl(plain_url))
                execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO plain")
                assert state.inc("n") == 1
            finally:
                state.close()
                if plain.get_backend_name() == "postgresql":
                    execute("DROP OWNED BY plain")
                execute("DROP USER plain")

    @pytest.mark.slow
    def test_ddl(self, url: str) -> None:
        """The printed statements make the table that the store uses, in a schema where asked."""
        with client_of(url) as execute:
            execute(f"DROP TABLE IF EXISTS {TABLE}")
            _make_table(execute, ddl(url))
            state = state_at(url)
            assert state.inc("n") == 1
            state.close()
            assert len(execute(f"SELECT * FROM {TABLE}")) == 1
        assert "other" in ddl(url, "other.state")

    def test_names(self, url: str) -> None:
        """`CACHE_DATABASE_TABLE` names the table, also by a word that SQL uses."""
        state = state_at(url, CACHE_DATABASE_TABLE="order")
        assert state.inc("n") == 1
        state.clear()
        state.close()
        for wrong in ("", 'a"b', "a b", "a;b", "a.b.c", "1a", "x" * 42):
            with pytest.raises(ConfigurationError, match="CACHE_DATABASE_TABLE"):
                state_at(url, CACHE_DATABASE_TABLE=wrong or " ")

    def test_another_kind_of_table(self, url: str) -> None:
        """A table with other columns is left as it is, and the error says so."""
        with client_of(url) as execute:
            execute("DROP TABLE IF EXISTS foreigner")
            execute("CREATE TABLE foreigner (id INTEGER)")
            state = state_at(url, CACHE_DATABASE_TABLE="foreigner")
            for operation in (lambda: state.inc("n"), lambda: state.get("n"), state.clear):
                with pytest.raises(ConfigurationError, match="another kind"):
                    operation()
            state.close()
            execute("DROP TABLE foreigner")

    def test_numbers_are_numbers(self, url: str, state: State) -> None:
        """What we count, SQL shows as a number and can count on, and the other way round."""
        state.inc("n", 41)
        state.set("text", "41 ")
        with client_of(url) as execute:
            mark = "?" if url.startswith("sqlite") else "%s"
            assert execute(f"SELECT number FROM {TABLE} WHERE number IS NOT NULL") == [(41,)]
            execute(f"UPDATE {TABLE} SET number = number + 1 WHERE name = {mark}", (b"test:n",))
        assert state.get("n") == 42
        assert state.inc("n") == 43


def _make_table(execute: Execute, statements: str) -> None:
    for statement in filter(str.strip, statements.split(";\n")):
        execute(statement)


def _inc_once(state: State, me: int) -> Generator[Any, Any, None]:
    yield partial(state.inc, "n")


class TestExpiry:
    def test_collected(self, url: str) -> None:
        """Records that have expired leave the table as others are written, the rest stay."""
        state = state_at(url)
        clock = FakeClock(state.store, {})
        state.set_many({str(i): i for i in range(100)}, timeout=10)
        state.set_many({"later": 1}, timeout=1000)
        state.set("ever", 1)
        clock.advance(11)
        for _ in range(100):
            state.inc("n")
        with client_of(url) as execute:
            assert execute(f"SELECT COUNT(*) FROM {TABLE}") == [(3,)]
        assert sorted(state.keys()) == ["ever", "later", "n"]
        state.close()

    def test_one_that_is_renewed(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A record that was found expired and is written before it is removed stays."""
        state, other = state_at(url), state_at(url)
        clocks = [FakeClock(each.store, {}) for each in (state, other)]
        state.set("a", 1, timeout=10)
        for clock in clocks:
            clock.advance(11)
        dialect: Any = state.store._dialect  # type: ignore[attr-defined]
        among = dialect.among

        def renew_first(names: Any) -> Any:
            monkeypatch.undo()
            other.set("a", 2, timeout=1000)
            return among(names)

        monkeypatch.setattr(dialect, "among", renew_first)
        state.store._writes = -1  # type: ignore[attr-defined]  # The next write collects.
        state.set("b", 1)
        assert dialect.among == among
        assert state.get("a") == 2
        state.close()
        other.close()

    def test_one_in_use(self, server_url: str) -> None:
        """An expired row that somebody has locked holds no write up."""
        state = state_at(server_url)
        clock = FakeClock(state.store, {})
        state.inc("n")
        state.set("old", 1, timeout=10)
        clock.advance(11)
        with client_of(server_url) as execute:
            execute("BEGIN")
            execute(f"SELECT * FROM {TABLE} WHERE name = %s FOR UPDATE", (b"test:old",))
            began = time.monotonic()
            for _ in range(70):
                state.inc("n")
            assert time.monotonic() - began < state.store.timeout
            execute("ROLLBACK")
        state.close()
