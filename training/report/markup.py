"""What every page is rendered with: templates, how text becomes cells, and the one script a page admits."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from training.report import formatting

INTERVAL = re.compile(r"^(-?[\d.e+]+) (\(.+(?:–| to ).+\))$")
MINUS = re.compile(r"(?<![\w.])-(?=\d)")


@dataclass(frozen=True)
class PageScript:
    """What a page cannot do without a script: close the menu, mark the place, unfold everything for print.

    Attributes
    ----------
    digest
        For the content security policy, which admits this script and no other.
    """

    source: Markup
    digest: str


def page_environment() -> Environment:
    """Return the templates with the filters that print numbers; what a template lacks is an error."""
    environment = Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=formatting.number,
        interval=formatting.interval,
        p_value=formatting.p_value,
        duration=formatting.duration,
        measured=formatting.measured,
        cell=cell_markup,
        heading=heading_markup,
    )
    return environment


def page_script(environment: Environment) -> PageScript:
    """Return the script on one line, with its digest."""
    source = re.sub(r"\s*\n\s*", " ", environment.get_template("page.js").render()).strip()
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
    return PageScript(Markup(source), f"sha256-{digest}")  # noqa: S704 - a file of this package


def cell_markup(text: str) -> Markup:
    """Return a table cell: an interval on a line of its own, minus signs where hyphens stood for them."""
    found = INTERVAL.match(text)
    if found:
        value, bounds = (MINUS.sub("−", part) for part in found.groups())
        return Markup('{}<span class="ci">{}</span>').format(value, bounds)
    return escape(MINUS.sub("−", text) if text.startswith("-") else text)


def heading_markup(text: str) -> Markup:
    """Return a column heading with what stands in parentheses at its end on a line of its own."""
    name, opening, rest = text.partition(" (")
    return Markup('{}<span class="ci">({}</span>').format(name, rest) if opening else escape(text)
