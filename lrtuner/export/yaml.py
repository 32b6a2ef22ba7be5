"""The schedule config as YAML, to paste into a configuration file."""

import yaml

from lrtuner.document import AnyDocument
from lrtuner.export._base import EXACT, Exporter


def render(document: AnyDocument) -> str:
    """The same data as the JSON file; every float reads back as the same float."""
    text: str = yaml.safe_dump(document.document, sort_keys=False, width=100, allow_unicode=True)
    return text


EXPORTER = Exporter(
    title="the schedule config as YAML, to paste into a configuration file",
    media_type="application/yaml",
    filename="schedule.yaml",
    closed_form=render,
    judge=lambda _schedule: EXACT,
    reactive=render,
)
