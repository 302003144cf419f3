"""``python -m bench.http.plot RESULTS DIRECTORY``: what `bench.http --json` measured, as a picture.

It writes `http-light.svg` and `http-dark.svg`: increments of one key, against a static response of
the same server. A bar is the median of the rounds, the line on it their least and their most.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from .results import Measurement, Ratio, Results
from .servers import EMPTY, EMPTY_GTHREAD, SERVICE_NAMES, STATIC, TITLES

ROWS = (
    "lmdb",
    "filesystem",
    "redis",
    "lmdb-full",
    "filesystem-full",
    "webdis",
    EMPTY,
    EMPTY_GTHREAD,
    "redis-py",
    "diskcache",
)
LABELS, PANEL, GAP, ROW, TOP = 210, 180, 26, 22, 52


@dataclass(frozen=True)
class Colours:
    text: str
    quiet: str
    ours: str
    others: str
    line: str


SCHEMES = {
    "light": Colours("#1f2328", "#59636e", "#0969da", "#afb8c1", "#d1d9e0"),
    "dark": Colours("#f0f6fc", "#9198a1", "#4493f8", "#656c76", "#3d444d"),
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.http.plot", description=__doc__)
    parser.add_argument("results", type=Path, help="what `bench.http --json` printed")
    parser.add_argument("directory", type=Path, help="where the two pictures go")
    options = parser.parse_args(arguments)
    source, directory = options.results, options.directory
    results = Results.from_plain(json.loads(source.read_text())["measurements"])
    for name, colours in SCHEMES.items():
        (directory / f"http-{name}.svg").write_text(picture(results, colours))


def picture(results: Results, colours: Colours) -> str:
    """An SVG with a panel for each number of connections."""
    limits = [one for one in results.measurements if one.contestant == STATIC]
    names = [name for name in ROWS if _ratio(results, name, limits[0])]
    width, height = LABELS + len(limits) * (PANEL + GAP) + GAP, TOP + ROW * len(names) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="system-ui, sans-serif" font-size="12">',
        "<title>Increments over HTTP, against a static response of the same server</title>",
    ]
    for place, name in enumerate(names):
        y = TOP + ROW * place + 15
        parts.append(_text(LABELS - 8, y, TITLES[name].replace("*", ""), colours.text, "end"))
    for place, limit in enumerate(limits):
        parts += _panel(results, names, limit, LABELS + place * (PANEL + GAP), colours)
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    results: Results, names: list[str], limit: Measurement, left: float, colours: Colours
) -> Iterator[str]:
    bottom = TOP + ROW * len(names) + 2
    plural = "s" * (limit.connections > 1)
    yield _text(left, 18, f"{limit.connections} connection{plural}", colours.text, weight="600")
    yield _text(left + PANEL, 40, "static response", colours.quiet, "end")
    for share in (0, 0.5, 1):
        x = left + share * PANEL
        yield _line(x, TOP - 6, x, bottom, colours.line)
        yield _text(x, bottom + 16, f"{share:g}", colours.quiet, "middle")
    for place, name in enumerate(names):
        ratio = _ratio(results, name, limit)
        if ratio is not None:
            colour = colours.ours if name in SERVICE_NAMES else colours.others
            yield from _bar(ratio, left, TOP + ROW * place, colour, colours)


def _bar(ratio: Ratio, left: float, y: float, colour: str, colours: Colours) -> Iterator[str]:
    ends = [left + PANEL * min(share, 1.1) for share in ratio]
    width = f"{ends[0] - left:.1f}"
    yield f'<rect x="{left}" y="{y + 4}" width="{width}" height="14" rx="2" fill="{colour}"/>'
    yield _line(ends[1], y + 11, ends[2], y + 11, colours.text)
    if ratio.most < 0.85:
        yield _text(ends[2] + 5, y + 15, f"{ratio.middle:.2f}", colours.text)
    else:  # No room is left beside it.
        yield _text(left + 5, y + 15, f"{ratio.middle:.2f}", colours.text)


def _ratio(results: Results, name: str, limit: Measurement) -> Ratio | None:
    operation = "nothing" if name in (EMPTY, EMPTY_GTHREAD) else "increment"
    found = results.find(name, operation, limit.connections, limit.keys)
    return None if found is None else found.against(limit)


def _text(
    x: float, y: float, text: str, colour: str, anchor: str = "start", weight: str = "400"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1}" x2="{x2:.1f}" y2="{y2}" stroke="{colour}"/>'


if __name__ == "__main__":
    main(sys.argv[1:])
