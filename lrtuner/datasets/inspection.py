"""What is told about a file of examples."""

import numpy as np
from pydantic import Field as Described

from lrtuner.datasets.content import Content, Kind, Task
from lrtuner.datasets.cut import sizes
from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.strict import Record

MOST_LISTED = 200


class FieldInspection(Record):
    """A column or an array of the file."""

    name: str
    type: str
    shape: list[int]
    distinct: int | None = Described(description="Different texts, if they were counted.")


class Inspection(Record):
    """What is in a file."""

    format: str
    kind: Kind = Described(description="What a model has to accept.")
    task: Task
    num_examples: int
    input_shape: list[int] = Described(description="Of one example.")
    num_outputs: int = Described(description="Classes, characters, or numbers per target.")
    target: str | None = Described(description="The column or array of the targets.")
    num_fields: int
    fields: list[FieldInspection] = Described(description="Columns or arrays; the first 200.")
    class_counts: dict[str, int] = Described(description="Examples per class; the first 200.")
    splits: dict[str, int] = Described(description="Examples per split.")
    own_splits: bool = Described(description="Whether the file brings its splits itself.")
    array_bytes: int = Described(description="What the examples take as arrays.")
    streamed: bool = Described(
        default=False, description="Whether that is too much for memory, and streamed from disk."
    )
    warnings: list[str]


def inspected(format: str, content: Content) -> Inspection:
    """The inspection of what was read."""
    first = next(iter(content.parts.values()))
    counts: dict[str, int] = {}
    warnings = list(content.warnings)
    if content.classes:
        counted = [
            np.bincount(part.targets, minlength=len(content.classes))
            for part in content.parts.values()
        ]
        numbers = np.sum(counted, axis=0).tolist()
        counts = dict(list(zip(content.classes, numbers, strict=True))[:MOST_LISTED])
        if min(numbers) < 3:
            warnings.append("some classes have fewer than 3 examples: splits may lack them")
    size = sum(p.inputs.nbytes + p.targets.nbytes for p in content.parts.values())
    if content.room.streamed:
        warnings.append(
            f"it takes {size // MEBIBYTE} MiB as arrays: streamed from disk in training"
        )
    return Inspection(
        format=format,
        kind=content.kind,
        task=content.task,
        num_examples=len(content),
        input_shape=list(first.inputs.shape[1:]),
        num_outputs=content.num_outputs,
        target=content.target,
        num_fields=len(content.fields),
        fields=[
            FieldInspection(
                name=field.name,
                type=field.type,
                shape=list(field.shape),
                distinct=field.distinct,
            )
            for field in content.fields[:MOST_LISTED]
        ],
        class_counts=counts,
        splits=sizes(content),
        own_splits="all" not in content.parts,
        array_bytes=size,
        streamed=content.room.streamed,
        warnings=warnings[:MOST_LISTED],
    )
