"""What a job may say about a file of examples."""

from typing import Annotated, Literal

from pydantic import Field

from lrtuner.datasets.content import Kind
from lrtuner.strict import Strict

Format = Literal["npz", "csv", "safetensors", "parquet", "images", "text", "idx", "cifar"]


class Options(Strict):
    """How to read a file; each means something for some formats and is refused by the others.

    `target` names the column of the targets (csv, parquet; the last one if left out). `task` says
    what the targets are: `auto` takes texts, truth values and whole numbers of at most 100 kinds as
    classes, and other numbers as regression; a text, and tokens, are for language modelling. `kind`
    is what the file must hold. Both are filled in once the file was looked into. `image_size` is
    the side of the square that images are resized to (images; if left out their own size where that
    is the same for all and at most 64, else 32). `context_length` is the characters per example
    (text).
    """

    target: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    task: Literal["auto", "classification", "regression", "language_modelling"] = "auto"
    kind: Kind | None = None
    image_size: Annotated[int, Field(ge=4, le=512)] | None = None
    context_length: Annotated[int, Field(ge=8, le=1024)] = 64
