"""`/docs`: a page of all that there is."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from documented import DOCUMENT, OPERATIONS, open_app
from flask.testing import FlaskClient

from routes.pages import CONTENT_SECURITY_POLICY


@pytest.fixture
def client() -> FlaskClient:
    return open_app().test_client()


class Page(HTMLParser):
    """What a page refers to, and the ids that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src", "action", "style", "srcset") or name.startswith("on"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")


def test_the_page_shows_all_of_it(client: FlaskClient) -> None:
    """`/docs` has a section for every operation and class, and each of its links leads to one."""
    page = Page(client.get("/docs").text)
    operations = {param.id for param in OPERATIONS}
    assert operations | set(DOCUMENT["components"]["schemas"]) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_the_page_has_a_table_of_contents_by_group(client: FlaskClient) -> None:
    """Each group with what it is about, each operation in one, and an example of each."""
    text = client.get("/docs").text
    contents = Page(text.partition("<nav")[2].partition("</nav>")[0]).links
    groups = [tag["name"] for tag in DOCUMENT["tags"]]
    assert {*contents} == {
        *(f"#group-{name}" for name in groups),
        *(f"#{param.id}" for param in OPERATIONS),
        "#bodies",
    }
    assert all(tag["description"] for tag in DOCUMENT["tags"])
    assert {tag for param in OPERATIONS for tag in param.values[2]["tags"]} == {*groups}
    assert text.count("<code>curl ") == len(OPERATIONS)


def test_the_page_needs_no_network_and_no_script(client: FlaskClient) -> None:
    """`/docs` refers to this server alone, and its policy allows nothing else."""
    response = client.get("/docs")
    page = Page(response.text)
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert not page.tags & {"script", "style", "iframe", "object", "form", "base"}
    for link in page.links:
        assert not re.match(r"\w+:|//", link)
        if not link.startswith("#"):
            with client.get(urljoin("/docs", link)) as linked:
                assert linked.status_code == 200
