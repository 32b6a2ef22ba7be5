"""A schedule config in Markdown: for the summary of a pipeline's run, or a comment on a change."""

import re

from lrtuner.comparing import changed_rows, compare, comparison_rows
from lrtuner.document import ScheduleDocument
from lrtuner.gate import standing
from lrtuner.words import Rows, clean, provenance_rows, schedule_rows, title, verdict_rows

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!~])")


def summary(document: ScheduleDocument, in_use: ScheduleDocument | None, name: str) -> str:
    """The schedule, how sure it is, and how it stands to the one in use, which is called `name`."""
    verdict = document.verdict
    lines = [f"## {_escaped(title(document))}", ""]
    if in_use and verdict and in_use.unit != "second":  # which no job compares with
        found = standing(document, in_use, name)
        lines += [f"**{found.outcome}**: {_escaped(found.reason)}", ""]
    if verdict:
        lines += _table(verdict_rows(verdict))
        lines += [f"- {_escaped(warning)}" for warning in verdict.warnings]
        lines += [""] if verdict.warnings else []
    lines += _table([*schedule_rows(document), *provenance_rows(document)])
    if in_use:
        changed = [(what, f"{old} → {new}") for what, old, new in changed_rows(in_use, document)]
        numbers = comparison_rows(compare(in_use, document), (name, "the new one"))
        lines += [f"### Against {_escaped(name)}", "", *_table([*changed, *numbers])]
    return "\n".join(lines)


def _table(rows: Rows) -> list[str]:
    told = [f"| {_escaped(name)} | {_escaped(text)} |" for name, text in rows]
    return ["| | |", "|---|---|", *told, ""]


def _escaped(text: str) -> str:
    """The text as Markdown takes it: on one line, nothing of it markup."""
    return _MARKUP.sub(r"\\\1", clean(text))
