"""What a job asks, without who asks it: two jobs with one question have one answer."""

from lrtuner.job import JobSpec
from lrtuner.jsontext import digest
from lrtuner.sources import Code, OwnData, Timm, Torchvision, Transformers, Upload
from lrtuner.sources.datasets import BreastCancer, Diabetes, Digits, DigitSegments, Wine
from lrtuner.sources.models import BuiltinModel

ALGORITHM_VERSION = 1
"""Raised whenever the same job may get another answer: a new search, range test or verdict."""

LABELS = frozenset({"name", "metadata", "webhook", "priority", "deadline_minutes"})
"""The fields of a job that cannot change its answer."""

#: What a name or a hash says all about. `python_stdlib_text` is missing: it is what the worker's
#: Python has.
_KNOWN_DATASETS = (Upload, OwnData, Digits, DigitSegments, BreastCancer, Wine, Diabetes)
_KNOWN_MODELS = (BuiltinModel, Code)
_LIBRARY_MODELS = (Transformers, Timm, Torchvision)


def question_of(spec: JobSpec) -> str | None:
    """The hash of everything that can change the answer; None where the job does not say it all.

    A file below the data root, a checkpoint in a cache or a function that the operator installed
    may have changed since the same job was asked before. The versions of the worker's libraries and
    its device are not part of the question, as they are not part of the job.

    Args:
        spec: the job, with what its upload was inspected to be spelled out.
    """
    if not _says_it_all(spec):
        return None
    asked = spec.model_dump(mode="json", by_alias=True, exclude=set(LABELS))
    return digest({"algorithm": ALGORITHM_VERSION, "job": asked})


def _says_it_all(spec: JobSpec) -> bool:
    if not isinstance(spec.dataset, _KNOWN_DATASETS):
        return False
    if isinstance(spec.model, _LIBRARY_MODELS):
        return not spec.model.reads_files
    return isinstance(spec.model, _KNOWN_MODELS)
