"""The command that says how two schedule configs differ, without a service: diff."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lrtuner.cli.configs import drawn
from lrtuner.cli.output import STDOUT, ExitCode, note, require_writable, save, say, table
from lrtuner.comparing import changed_rows, compare, comparison_rows
from lrtuner.document import AnyDocument, ReactiveDocument, ScheduleDocument, load
from lrtuner.errors import InvalidInputError, UnsupportedError
from lrtuner.jsontext import dumps
from lrtuner.plots import comparison_svg
from lrtuner.words import clean, title

_EXAMPLES = """\b
Examples:
  lrtuner diff schedule.json new.json
  lrtuner diff schedule.json new.json --plot diff.svg
  lrtuner diff schedule.json new.json --exit-code > /dev/null || echo "the rates have changed"
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog=_EXAMPLES)(diff)


def diff(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A schedule config (JSON or YAML).")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another one.")],
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.svg", help="Where to draw both; - is stdout.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 3 if any rate differs.")
    ] = False,
) -> None:
    """Say how two schedule configs differ: in words, in numbers and as a drawing.

    Ratios are those of B to A. The rates are the same if none differs by more than 1e-12 of the
    highest one; configs of other horizons or units are compared at equal shares of their runs.
    """
    _check_outputs(plot, as_json)
    ours, theirs = load(a), load(b)
    names = _names(a, b)
    both = _both(ours, theirs)
    if plot is not None:
        if both is None:
            raise UnsupportedError("a rule that reacts to a metric has no curve: leave out --plot")
        save(plot, comparison_svg(*both, names).encode())
    tell = note if plot == STDOUT else say
    if as_json:
        say(dumps(_data(ours, theirs, both), indent=2))
    else:
        tell("\n".join(_told(ours, theirs, both, names)))
    if exit_code and not _equal(ours, theirs, both):
        raise typer.Exit(ExitCode.NOT_BETTER)


_Both = tuple[ScheduleDocument, ScheduleDocument]


def _both(a: AnyDocument, b: AnyDocument) -> _Both | None:
    """Both, if they have rates to compare."""
    if isinstance(a, ReactiveDocument) or isinstance(b, ReactiveDocument):
        return None
    return a, b


def _equal(a: AnyDocument, b: AnyDocument, both: _Both | None) -> bool:
    return compare(*both).equal if both else _rule(a) == _rule(b)


def _rule(document: AnyDocument) -> dict[str, Any] | None:
    """What decides the rates of a rule that reacts; None for a schedule."""
    if isinstance(document, ScheduleDocument):
        return None
    return {name: document.document[name] for name in ("unit", "peak_lr", "body")}


def _told(a: AnyDocument, b: AnyDocument, both: _Both | None, names: tuple[str, str]) -> list[str]:
    lines = table([("A", f"{names[0]}: {title(a)}"), ("B", f"{names[1]}: {title(b)}")], indent="")
    found = compare(*both) if both else None
    if both and found:
        # the drawing has one axis: what is longer or shorter is drawn over the same width
        other = None if found.equal else both[1].rescaled(both[0].total_steps)
        lines += ["", *drawn(both[0], other, ("A", "B"))]
    changed = [(name, f"{old} -> {new}") for name, old, new in changed_rows(a, b)]
    lines += ["", *table(changed or [("words", "they say the same")])]
    if found:
        lines += ["", *table(comparison_rows(found, ("A", "B")))]
    return lines


def _data(a: AnyDocument, b: AnyDocument, both: _Both | None) -> dict[str, Any]:
    return {
        "equal": _equal(a, b, both),
        "a": _in_short(a),
        "b": _in_short(b),
        "changed": {name: [old, new] for name, old, new in changed_rows(a, b)},
        "rates": compare(*both).model_dump(mode="json") if both else None,
    }


def _in_short(document: AnyDocument) -> dict[str, Any]:
    verdict = document.verdict if isinstance(document, ScheduleDocument) else None
    return {
        "title": title(document),
        "peak_lr": document.peak_lr,
        "family": document.body.family,
        "verdict": verdict and verdict.model_dump(mode="json", exclude={"baseline"}),
    }


def _names(a: Path, b: Path) -> tuple[str, str]:
    """The names of the files, as far as they tell them apart, else the paths."""
    one, other = (a.name, b.name) if a.name != b.name else (str(a), str(b))
    return clean(one), clean(other)


def _check_outputs(plot: str | None, as_json: bool) -> None:
    if plot is None:
        return
    if as_json and plot == STDOUT:
        raise InvalidInputError("--json and --plot - both write to stdout: give one of them")
    require_writable(plot)
