"""The job once its file was looked into: what was found stands in it, and all of it fits."""

from typing import Literal

from lrtuner.datasets import TABLES, Inspection, Options
from lrtuner.job import JobSpec
from lrtuner.sources.libraries import HuggingFaceArgs
from lrtuner.strict import does_not_fit

Task = Literal["auto", "classification", "regression", "language_modelling"]

_SEQUENCES = "language_modelling"


def settled(spec: JobSpec, found: Inspection) -> JobSpec:
    """The job with `kind`, `task` and `target` of its file in `dataset.args`, checked as a whole.

    A dataset of Hugging Face's says all of that in the job; only its number of examples is new.

    A target other than that of the inspection is known by its column alone: where that does not
    tell the task, it stays as it was said.

    Args:
        spec: a job on a file, or on a dataset that was saved.
        found: what is in the file; the same function serves those who look into it themselves and
            those who only have the record.

    Raises:
        PydanticCustomError: (a ValueError) it does not fit; `field` in its context says where.
    """
    options = spec.dataset.args
    if isinstance(options, HuggingFaceArgs):
        spec.total_steps(found.splits["train"])
        return spec
    assert isinstance(options, Options), "only files are looked into"  # noqa: S101
    if options.kind not in (None, found.kind):
        told = f"{options.kind!r}, but the file holds {found.kind}"
        raise does_not_fit("dataset.args.kind", told)
    known = {"kind": found.kind, "task": _task(options, found), "target": _target(options, found)}
    job = spec.on(options.model_copy(update=known))
    if options.context_length == Options().context_length:  # else the number of examples is another
        job.total_steps(found.splits["train"])
    return job


def _target(options: Options, found: Inspection) -> str | None:
    if found.format not in TABLES:
        if options.target is not None:
            told = f"only {' and '.join(TABLES)} have columns to choose from"
            raise does_not_fit("dataset.args.target", told)
        return None
    names = [field.name for field in found.fields]
    if options.target in (None, *names) or len(names) < found.num_fields:
        return options.target or found.target
    told = f"there is no column {options.target!r}; there are {', '.join(names)[:500]}"
    raise does_not_fit("dataset.args.target", told)


def _task(options: Options, found: Inspection) -> Task:
    wanted = options.task
    sequences = found.task == _SEQUENCES
    if wanted != "auto" and sequences is not (wanted == _SEQUENCES):
        told = f"{wanted!r}, but the file is for {found.task.replace('_', ' ')}"
        raise does_not_fit("dataset.args.task", told)
    target = options.target or found.target
    type_ = next((field.type for field in found.fields if field.name == target), None)
    if wanted == "regression" and type_ == "text":
        told = f"'regression' needs numbers, but {target!r} holds texts"
        raise does_not_fit("dataset.args.task", told)
    if wanted != "auto":
        return wanted
    if target == found.target:
        return found.task
    told_by: dict[str | None, Task] = {"text": "classification", "number": "regression"}
    return told_by.get(type_, "auto")
