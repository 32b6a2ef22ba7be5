"""The report as a page: one HTML file that needs nothing else, on a screen or on paper.

Every number in it is a number of the report: `<data value="...">` has it in full, the text beside
it with four digits that count. What comes from users is escaped by the template engine; only the
pictures, which escape their own, are put in as they are.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from lrtuner.jsontext import dumps
from lrtuner.report.model import Report
from lrtuner.words import number

SECURITY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The content security policy: nothing is fetched, nothing runs."""

_NOTHING = "\N{EN DASH}"


def page(report: Report, pictures: Mapping[str, Sequence[str]], address: str = "") -> str:
    """The text of the HTML file.

    Args:
        report: what is said.
        pictures: SVG files by the name of their plot, none higher than a page; a plot without any
            has no figure.
        address: where the service is reached, without a slash at the end; may be empty.
    """
    # they escape what they say themselves
    drawn = {name: [Markup(svg) for svg in svgs] for name, svgs in pictures.items()}  # noqa: S704
    job = f"/v1/jobs/{report.job.id}"
    return _template().render(
        report=report,
        pictures=drawn,
        links=f"{address}{job}",
        shell=f"{address or '$LRTUNER_URL'}{job}",
        policy=SECURITY,
        job_text=dumps(report.reproduction.job, indent=2),
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"num": _number, "signed": _signed, "percent": _percent, "plain": _plain}
    text = resources.files("lrtuner.report").joinpath("page.html.jinja").read_text("utf-8")
    return environment.from_string(text)


def _number(value: float | None) -> str:
    return _data(value, number(value)) if value is not None else _NOTHING


def _signed(value: float | None) -> str:
    return _data(value, f"{value:+.4g}") if value is not None else _NOTHING


def _percent(value: float | None) -> str:
    return _data(value, f"{100 * value:+.3g} %") if value is not None else _NOTHING


def _plain(value: Any) -> str:
    """What a worker tells of itself: a text, a number, a list or versions by name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _data(value: float, text: str) -> Markup:
    return Markup('<data value="{}">{}</data>').format(repr(value), text)
