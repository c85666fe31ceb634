"""Fill the template. Jinja escapes all text except the figures' own bytes."""

from __future__ import annotations

import base64
import re
from typing import NamedTuple

import jinja2
from markupsafe import Markup, escape

from sr3d._version import __version__
from sr3d.study.report.figures import ReportFigure
from sr3d.study.report.page.overview import by_verdict
from sr3d.study.report.page.parts import Report, content_of, labels, untouched
from sr3d.study.report.paper import Claim, datasets_of, settings_of_claim
from sr3d.study.report.verdicts import Judgement
from sr3d.study.report.verdicts.judgement import DIRECTIONS, SIZES, Words, listed

TEMPLATE, STYLE = "page.html.j2", "style.css"
MOST_SVG = 800_000  # bytes. A larger drawing is shown as pixels if these need fewer bytes.


def render_page(report: Report) -> str:
    """The page as HTML: one file that includes style and figures and loads nothing.

    It links to the viewers of scenes, which are separate files beside it.

    Raises:
        InputError: an unreadable record.
    """
    loader = jinja2.PackageLoader("sr3d.study.report.page", ".")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "listed": listed,
        "image": image,
        "short": _short,
        "data_of": _data_of,
        "whole": _whole,
        "intervals": _intervals,
        "percent": _percent,
        "runs_of": _runs_of,
        "direction": _direction,
        "size": _size,
    }
    style, _, _ = loader.get_source(environment, STYLE)
    parts = content_of(report)
    return environment.get_template(TEMPLATE).render(
        report=report,
        parts=parts,
        several=len(parts) > 1,
        cited=by_verdict(report.paper, report.cited),
        of_paper=labels(datasets_of(report.paper)),
        untouched=[] if report.own else untouched(report),
        title=title_of_page(report),
        style=style,
        version=__version__,
    )


class Picture(NamedTuple):
    """A figure as a `data:` address. dark: whether it has dark colours for dark mode."""

    address: str
    dark: bool


def title_of_page(report: Report) -> str:
    """The heading of the page: the paper, or the user's detector."""
    if report.own:
        return f"Your detector on {listed(part.label for part in report.parts)}"
    return "SR3D: the paper's results beside ours"


def image(drawn: ReportFigure) -> Picture | None:
    """A figure for the page, None if nothing was drawn.

    It is not inlined, because matplotlib uses the same element names in all figures.
    """
    there = [path for path in (drawn.svg, drawn.png) if path is not None]
    if not there:
        return None
    path = there[0]
    if path.stat().st_size > MOST_SVG:
        path = min(there, key=lambda p: p.stat().st_size)
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[path.suffix]
    content = path.read_bytes()
    address = f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return Picture(address, path.suffix == ".svg" and b"prefers-color-scheme" in content)


def _short(title: str) -> str:
    """A title without the part that the whole page shares."""
    return title.replace(" of the SR3D paper", "")


def _whole(text: str) -> str:
    """A text in which "p = 0.04" and "k = 6" stay on one line."""
    return re.sub(r" ([=<>≤≥]) ", "\u00a0\\1\u00a0", text)


def _intervals(cell: str) -> Markup:
    """A table's cell as HTML. A line breaks before an interval, never within it or in "< 0.001"."""
    text = str(escape(re.sub(r"^< ", "<\u00a0", cell)))
    return Markup(re.sub(r"\[[^\]]*\]", r'<span class="interval">\g<0></span>', text))


def _data_of(heading: str, title: str) -> str:
    """The data in a table's heading, without its title."""
    return heading.removeprefix(title).strip(" ()")


def _percent(part: float) -> str:
    return f"{100 * part:.2f}%"


def _runs_of(claim: Claim) -> str:
    """The settings of a claim by the names of their run folders."""
    return f"Runs: {listed(settings_of_claim(claim))}"


def _direction(one: Judgement) -> Words:
    """The word for the direction, and its meaning."""
    return DIRECTIONS[one.direction]


def _size(one: Judgement) -> str:
    """The word for the size."""
    return SIZES[one.size].word
