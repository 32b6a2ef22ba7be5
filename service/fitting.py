"""The job as it is kept: its dataset is there, and fits."""

from typing import Any

from pydantic_core import PydanticCustomError

from lrtuner.datasets import Inspection
from lrtuner.fitting import check_fit
from lrtuner.job import JobSpec
from lrtuner.sources import HuggingFace, PathFile, Timm, Torchvision, Transformers, Upload
from lrtuner.store import datasets as stored
from service.problem import ProblemError
from service.settings import Settings
from service.wording import plain


def settled(connection: Any, spec: JobSpec, settings: Settings) -> JobSpec:
    """The job, with the target spelled out that its upload was inspected with.

    The upload cannot be deleted before the end of the transaction, and after it the job uses it.

    Raises:
        ProblemError: there is no such upload, the job does not fit it, or the operator has no data
            root for paths.
    """
    if settings.data_root is None:
        _refuse_paths(spec)
    if not isinstance(spec.dataset, Upload):
        return spec
    row = stored.find_dataset(connection, spec.dataset.id, hold=True)
    if row is None:
        raise _invalid(
            "dataset.id", f"there is no dataset {spec.dataset.id}: POST it to /v1/datasets first"
        )
    found = Inspection.model_validate(row.inspection)
    try:
        check_fit(spec, found)
    except PydanticCustomError as error:
        raise _invalid(str((error.context or {})["field"]), plain(str(error))) from None
    if found.kind != "features" or row.format not in ("csv", "parquet"):
        return spec
    target = spec.dataset.args.target or found.target
    args = spec.dataset.args.model_copy(update={"target": target})
    return spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"args": args})})


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
