"""The pages of the documentation, and their blocks of code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "examples/README.md"]
PAGES = [README, *GUIDES, *sorted(DOCS.rglob("*.md"))]
EVERYTHING = "".join(page.read_text() for page in PAGES)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIBRARY = sorted((DOCS / "library").glob("*.md"))


def blocks(language: str, page: str = "README.md") -> list[str]:
    text = (README if page == "README.md" else DOCS / page).read_text()
    return [code for name, code in BLOCK.findall(text) if name == language]
