"""What people get to see of the races: tables, JSON and a page."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import pytest
from race_histories import at_once, by_clients, by_workers, result
from rich.console import Console

from race.judging.verdict import MEANINGS, Outcome
from race.reporting import terminal
from race.reporting.html import heat, page
from race.reporting.report import as_data
from race.runner import Load

LOAD = Load(clients=3, rounds=1)
RESULTS = [
    result("global", "flask-single", at_once([1, 2, 3])),
    result("global", "flask-threaded", at_once([1, 2, 3])),
    result("global", "gunicorn-sync", by_workers([1, 2], [1])),
    result("global", "uwsgi", skipped="uwsgi is not installed"),
    result("get-set-files", "gunicorn-sync", at_once([1, 2, 2, 4])),
    result("g", "gunicorn-sync", by_clients([1, 1], [1, 1])),
    result("ours-lmdb", "flask-threaded", at_once([1, 2, 3])),
    result("ours-lmdb", "gunicorn-sync", failed="OSError: no room"),
]


def shown(results, width=200) -> str:
    """What the terminal shows at the end."""
    out = io.StringIO()
    terminal.show(Console(file=out, width=width), results)
    return out.getvalue()


class TestTerminal:
    def test_matrix(self):
        """Each race stands in the row of its strategy with symbol, verdict and speed."""
        text = shown(RESULTS)
        [row] = [line for line in text.splitlines() if "global variable" in line]
        cells = [cell.strip() for cell in row.split("│")[2:-1]]
        assert cells == [
            "= cannot race", "? not caught", "✗ never left the worker", "– skipped",
        ]  # fmt: skip
        assert text.count("300/s p99 10 ms") == 4
        for one in RESULTS:
            assert f"{one.verdict.outcome.value} {one.verdict.label}" in text

    def test_meanings_and_reasons(self):
        """Below stand what each symbol means and why, each reason once with all it is true of."""
        text = shown(RESULTS, width=1000)
        assert {one.verdict.outcome for one in RESULTS} == {*Outcome} - {Outcome.NOTHING_WRONG}
        used = {one.verdict.outcome for one in RESULTS}
        assert all(f"{outcome.value} {MEANINGS[outcome]}" in text for outcome in used)
        assert text.count("global: it is in the memory of one process") == 1
        assert "get-set-files: two requests read the same number" in text
        assert "uwsgi: uwsgi is not installed" in text

    def test_broken_promise(self):
        """What should have been exact is named, with the server."""
        text = shown(RESULTS, width=1000)
        found = text.partition("What should have been exact")[2]
        assert "ours-lmdb under gunicorn-sync: OSError: no room" in found

    @pytest.mark.parametrize(("width", "parts"), [(80, 2), (200, 1)])
    def test_narrow(self, width, parts):
        """A narrow terminal gets the servers in parts; no line is wider, and no cell is lost."""
        text = shown(RESULTS, width)
        assert max(map(len, text.splitlines())) <= width
        assert len([line for line in text.splitlines() if "global variable" in line]) == parts
        for title in ("gunicorn sync", "uWSGI", "flask run"):
            assert title in text

    def test_lines(self):
        """Where there is no terminal, each race is a line as soon as it is over."""
        out = io.StringIO()
        with terminal.progress(Console(file=out, width=200), total=2) as progress:
            progress.starting(RESULTS[0].race.strategy, "flask-single")
            progress.finished(RESULTS[0])
            first = out.getvalue()
            progress.finished(RESULTS[3])
        assert first.startswith("[1/2] = global variable | flask-single: cannot race  (300/s")
        assert "[2/2] – global variable | uwsgi: skipped  (uwsgi is not inst" in out.getvalue()

    def test_live_table(self):
        """A terminal sees the table grow, no higher than it is itself."""
        out = io.StringIO()
        console = Console(
            file=out, width=200, height=terminal.HEADING_LINES + 2, force_terminal=True
        )
        with terminal.progress(console, total=9) as progress:
            for one in RESULTS:
                progress.starting(one.race.strategy, one.race.server)
                progress.finished(one)
            console.print(progress.render())
        last = out.getvalue()
        assert "sharedstate: lmdb" in last
        assert "8/9" in last
        assert "global variable" not in last.rpartition("sharedstate: lmdb")[2]


class TestData:
    def test_json(self):
        """All of it can be JSON: each race with its verdict, its reason and its figures."""
        data = json.loads(json.dumps(as_data(RESULTS, LOAD)))
        assert len(data["races"]) == len(RESULTS)
        race = data["races"][4]
        assert (race["strategy"], race["server"]) == ("get-set-files", "gunicorn-sync")
        assert (race["outcome"], race["label"]) == ("wrong", "1 twice, 1 skipped")
        assert (race["figures"]["twice"], race["figures"]["skipped"]) == (1, 1)
        assert data["races"][3]["figures"] is None
        assert data["load"]["clients"] == 3
        assert data["servers"]["gunicorn-sync"] == "gunicorn sync ×4"
        assert data["strategies"]["ours-lmdb"]["origin"] == "ours"


class Page(HTMLParser):
    """The page as a browser takes it: its tags, and whether they are nested as they should be."""

    EMPTY = {"meta", "br", "link", "img", "input"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


class TestPage:
    @pytest.fixture
    def text(self) -> str:
        return page(RESULTS, LOAD)

    def test_needs_nothing_else(self, text):
        """The page loads nothing: no script, style, image or font from anywhere."""
        tags = Page(text)
        assert not tags.open
        assert not {"src", "href"} & {name for _, attributes in tags.tags for name in attributes}
        assert not re.search(r"https?://|@import|url\(|fetch\(", text)

    def test_a_button_for_each_race(self, text):
        """Each race is a cell with words beside its colour, and its numbers are in the page."""
        buttons = {one["data-race"]: one for one in Page(text).all("button") if "data-race" in one}
        races = json.loads(re.search(r'id="races">(.*?)</script>', text, re.DOTALL)[1])
        assert set(buttons) == set(races)
        assert len(buttons) == len(RESULTS)
        for one in RESULTS:
            assert f"</span> {one.verdict.label}" in text
        wrong = races["get-set-files/gunicorn-sync"]
        assert (wrong["numbers"], wrong["each"]) == ("1 2 0 1", False)
        assert "heat-" in buttons["get-set-files/gunicorn-sync"]["class"]
        assert "broken" in buttons["ours-lmdb/gunicorn-sync"]["class"]
        assert races["g/gunicorn-sync"]["each"]

    @pytest.mark.parametrize(
        ("results", "words"),
        [
            (RESULTS, "1 of 2 races that have to be exact were."),
            (RESULTS[:-1], "1 of 1 races that have to be exact were."),
            (RESULTS[:3], "There was nothing here that has to be exact."),
        ],
    )
    def test_conclusion(self, results, words):
        """The page and the terminal say whether all that has to be exact was."""
        assert f"<strong>{words}" in page(results, LOAD)
        assert words in shown(results)

    def test_escapes(self):
        """What a server wrote into its log cannot become a part of the page."""
        bad = result("ours-lmdb", "granian", failed="OSError: </script><script>alert(1)</script>")
        assert "<script>alert" not in page([bad], LOAD)

    def test_heat(self):
        """The more is wrong, the hotter; what is right is not."""
        assert heat(RESULTS[0]) == 0
        few = result("get-set-files", "granian", at_once([*range(1, 99), 98, 100]))
        most = result("get-set-files", "granian", at_once([1, 2, 3] * 30))
        assert 0 < heat(few) < heat(most)
