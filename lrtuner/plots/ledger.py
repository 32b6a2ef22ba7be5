"""The ledger as a picture: a bar for each phase, and what it would have been without sharing."""

from collections.abc import Iterator

from lrtuner.ledger import Entry, Ledger
from lrtuner.plots._axis import from_zero
from lrtuner.plots._svg import element, picture, width_of, words
from lrtuner.words import number, plural

WIDTH = 760.0

_EDGE, _GAP, _HEAD, _ROW, _BAR = 16.0, 10.0, 30.0, 28.0, 16.0


def ledger_svg(ledger: Ledger) -> str:
    """The cost of each phase in full-training equivalents; dashed, what shared beginnings saved."""
    top = _EDGE + _HEAD + 18.0
    bottom = top + _ROW * len(ledger.entries)
    legend = bottom + 24.0 if ledger.saved else bottom
    told = [f"{entry.phase}: {_told(entry)}" for entry in ledger.entries]
    return picture(
        [
            words(_EDGE, _EDGE + 14.0, "Where the budget went", class_="title"),
            words(_EDGE, _EDGE + 34.0, _total(ledger), class_="quiet"),
            *_rows(ledger, top),
            *(_legend(legend) if ledger.saved else ()),
        ],
        width=WIDTH,
        height=legend + _EDGE,
        title="Where the budget went",
        description="; ".join([_total(ledger), *told]),
    )


def _rows(ledger: Ledger, top: float) -> Iterator[str]:
    entries = ledger.entries
    left = _EDGE + max((width_of(entry.phase) for entry in entries), default=0.0) + _GAP
    texts = max((width_of(_told(entry)) for entry in entries), default=0.0)
    room = WIDTH - _EDGE - texts - _GAP - left
    highest = max((entry.cost + entry.saved for entry in entries), default=0.0)
    axis = from_zero("", highest or 1.0, room=0.0)
    for i, entry in enumerate(entries):
        y = top + _ROW * i + (_ROW - _BAR) / 2
        spent, alone = (room * float(axis.share(x)) for x in (entry.cost, entry.cost + entry.saved))
        yield words(left - _GAP, y + 12.5, entry.phase, text_anchor="end")
        yield element("rect", class_="block s0", x=left, y=y, width=spent, height=_BAR)
        if entry.saved:
            size = {"width": alone - spent, "height": _BAR - 1}
            yield element("rect", class_="line s1", x=left + spent, y=y + 0.5, **size)
        yield words(left + alone + _GAP, y + 12.5, _told(entry))
    bottom = top + _ROW * len(entries)
    yield element("line", class_="axis", x1=left, y1=top, x2=left, y2=bottom)


def _told(entry: Entry) -> str:
    told = [f"{number(round(entry.cost, 4))} ({plural(entry.runs, 'run')}"]
    told += [f"{entry.diverged} diverged"] if entry.diverged else []
    told += [f"{entry.failed} failed"] if entry.failed else []
    return ", ".join(told) + ")"


def _total(ledger: Ledger) -> str:
    spent, budget = number(round(ledger.cost, 4)), number(ledger.budget)
    told = f"{spent} of {budget} full trainings, {plural(ledger.runs, 'run')}"
    return f"{told}; {number(round(ledger.saved, 4))} saved" if ledger.saved else told


def _legend(y: float) -> Iterator[str]:
    x = _EDGE
    for style, text in (("block s0", "spent"), ("line s1", "saved by sharing a beginning")):
        yield element("rect", class_=style, x=x, y=y - 10, width=28.0, height=11.0)
        yield words(x + 28.0 + _GAP, y, text)
        x += 28.0 + 4 * _GAP + width_of(text)
