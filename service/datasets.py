"""An upload as the API shows it."""

from pydantic import BaseModel, Field

from lrtuner.datasets import Inspection
from lrtuner.store.uploads import DatasetRow
from service.pages import utc


class DatasetLinks(BaseModel):
    """Where the upload is."""

    self: str


class Dataset(BaseModel):
    """An uploaded dataset: where it came from and what is in it."""

    id: str = Field(description="`sha256:` and the hash of the bytes.")
    format: str
    filename: str | None = Field(description="As the sender calls it; never used as a path.")
    num_bytes: int
    uploaded_at: str
    inspection: Inspection
    links: DatasetLinks


def dataset_resource(row: DatasetRow, public_url: str) -> Dataset:
    """The upload as the API shows it."""
    return Dataset(
        id=row.id,
        format=row.format,
        filename=row.filename,
        num_bytes=row.num_bytes,
        uploaded_at=utc(row.uploaded_at),
        inspection=Inspection.model_validate(row.inspection),
        links=DatasetLinks(self=f"{public_url}/v1/datasets/{row.id}"),
    )
