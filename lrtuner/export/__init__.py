"""A schedule config in other formats. A new format is one module here and one line in EXPORTERS."""

from lrtuner.document import AnyDocument, ExportFidelity
from lrtuner.errors import NotFoundError
from lrtuner.export import (
    composer,
    csv,
    deepspeed,
    fastai,
    json,
    keras,
    lightning,
    optax,
    svg,
    timm,
    torch,
    transformers,
    yaml,
)
from lrtuner.export._base import Exporter

# The one line that a new exporter adds.
EXPORTERS: dict[str, Exporter] = {
    "json": json.EXPORTER,
    "yaml": yaml.EXPORTER,
    "csv": csv.EXPORTER,
    "torch": torch.EXPORTER,
    "keras": keras.EXPORTER,
    "optax": optax.EXPORTER,
    "transformers": transformers.EXPORTER,
    "lightning": lightning.EXPORTER,
    "timm": timm.EXPORTER,
    "deepspeed": deepspeed.EXPORTER,
    "fastai": fastai.EXPORTER,
    "composer": composer.EXPORTER,
    "svg": svg.EXPORTER,
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
    """How exactly each format reproduces `document`, pictures left out."""
    return {
        name: exporter.fidelity(document)
        for name, exporter in EXPORTERS.items()
        if not exporter.picture
    }


__all__ = ["EXPORTERS", "Exporter", "exporter", "fidelities"]
