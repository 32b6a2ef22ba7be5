"""A schedule config in other formats. A new format is one module here and one line in EXPORTERS."""

from lrtuner.document import AnyDocument, ExportFidelity
from lrtuner.errors import NotFoundError
from lrtuner.export import csv, json, torch, yaml
from lrtuner.export._base import Exporter

# The one line that a new exporter adds.
EXPORTERS: dict[str, Exporter] = {
    "json": json.EXPORTER,
    "yaml": yaml.EXPORTER,
    "csv": csv.EXPORTER,
    "torch": torch.EXPORTER,
}


def exporter(name: str) -> Exporter:
    """The exporter of that name.

    Raises:
        NotFoundError: there is none; the message lists those there are.
    """
    if name not in EXPORTERS:
        raise NotFoundError(f"no export format {name!r}; there are {', '.join(EXPORTERS)}")
    return EXPORTERS[name]


def fidelities(document: AnyDocument) -> dict[str, ExportFidelity]:
    """How exactly each format reproduces `document`."""
    return {name: exporter.fidelity(document) for name, exporter in EXPORTERS.items()}


__all__ = ["EXPORTERS", "Exporter", "exporter", "fidelities"]
