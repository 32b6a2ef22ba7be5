"""The job as it is kept: its dataset is there, and fits."""

from typing import Any

from pydantic_core import PydanticCustomError

from lrtuner import fitting
from lrtuner.datasets import Inspection
from lrtuner.job import JobSpec
from lrtuner.sources import HuggingFace, PathFile, Timm, Torchvision, Transformers, Upload
from lrtuner.store.uploads import DATASETS
from service.problem import ProblemError
from service.settings import Settings
from service.wording import plain


def settled(
    connection: Any, spec: JobSpec, settings: Settings, *, team: str | None = None
) -> JobSpec:
    """The job, with what its upload was inspected to be spelled out.

    For a team there is only what it has uploaded. The upload cannot be deleted before the end of
    the transaction, and after it the job uses it.

    Raises:
        ProblemError: there is no such upload, the job does not fit it, or the operator has no data
            root for paths.
    """
    if settings.data_root is None:
        _refuse_paths(spec)
    if not isinstance(spec.dataset, Upload):
        return spec
    row = DATASETS.find(connection, spec.dataset.id, team=team, hold=True)
    if row is None:
        raise _invalid(
            "dataset.id", f"there is no dataset {spec.dataset.id}: POST it to /v1/datasets first"
        )
    found = Inspection.model_validate(row.inspection)
    try:
        return fitting.settled(spec, found)
    except PydanticCustomError as error:
        raise _invalid(str((error.context or {})["field"]), plain(str(error))) from None


def _refuse_paths(spec: JobSpec) -> None:
    model, dataset = spec.model, spec.dataset
    named = {
        "dataset.source": isinstance(dataset, PathFile | HuggingFace),
        "model.path": isinstance(model, Transformers | Timm | Torchvision) and model.path,
    }
    for field in (field for field, is_path in named.items() if is_path):
        told = "paths are turned off here: the operator has to name a folder in LRTUNER_DATA_ROOT"
        raise _invalid(field, told)


def _invalid(field: str, reason: str) -> ProblemError:
    message = f"{field}: {reason}"
    entry = {"pointer": "/" + field.replace(".", "/"), "field": field, "message": message}
    return ProblemError("invalid_input", f"{message}.", errors=[entry])
