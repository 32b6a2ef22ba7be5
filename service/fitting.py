"""The job as it is kept: its dataset is there, and fits."""

from typing import Any

from pydantic_core import PydanticCustomError

from lrtuner import fitting
from lrtuner.datasets import Inspection
from lrtuner.job import JobSpec
from lrtuner.sources import PathFile, Upload
from lrtuner.store.uploads import DATASETS
from service.problem import ProblemError
from service.settings import Settings
from service.wording import plain


def settled(connection: Any, spec: JobSpec, settings: Settings) -> JobSpec:
    """The job, with what its upload was inspected to be spelled out.

    The upload cannot be deleted before the end of the transaction, and after it the job uses it.

    Raises:
        ProblemError: there is no such upload, the job does not fit it, or the operator has no data
            root for paths.
    """
    if isinstance(spec.dataset, PathFile) and settings.data_root is None:
        raise _invalid(
            "dataset.source",
            "paths are turned off here: the operator has to name a folder in LRTUNER_DATA_ROOT",
        )
    if not isinstance(spec.dataset, Upload):
        return spec
    row = DATASETS.find(connection, spec.dataset.id, hold=True)
    if row is None:
        raise _invalid(
            "dataset.id", f"there is no dataset {spec.dataset.id}: POST it to /v1/datasets first"
        )
    found = Inspection.model_validate(row.inspection)
    try:
        return fitting.settled(spec, found)
    except PydanticCustomError as error:
        raise _invalid(str((error.context or {})["field"]), plain(str(error))) from None


def _invalid(field: str, reason: str) -> ProblemError:
    message = f"{field}: {reason}"
    entry = {"pointer": "/" + field.replace(".", "/"), "field": field, "message": message}
    return ProblemError("invalid_input", f"{message}.", errors=[entry])
