"""The results as one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from ..nemeses.table import NEMESES
from ..run import Load, Result
from .data import as_data, in_words

TEMPLATE = Path(__file__).with_name("report.html")


def page(results: Sequence[Result], load: Load) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(
        data=as_data(results, load), nemeses=NEMESES, in_words=in_words
    )
