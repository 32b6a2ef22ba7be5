"""Files of examples: uploads, and those below the operator's data root."""

from pathlib import PurePosixPath
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from lrtuner.datasets import SUFFIXES, Format, Options
from lrtuner.datasets.folder import DatasetId, RelativePath
from lrtuner.sources.config import ANYTHING, Config, Targets
from lrtuner.strict import does_not_fit

_TARGETS: dict[str, Targets | None] = {
    "auto": None,
    "classification": "classes",
    "regression": "values",
    "language_modelling": "tokens",
}


class File(Config):
    """A file of examples: what it holds is told by looking into it."""

    args: Options = Options()

    num_examples: ClassVar[int | None] = None

    @property
    def provides(self) -> frozenset[str]:
        """What the job says that it holds; it may be anything until the file was looked into."""
        return frozenset({self.args.kind}) if self.args.kind else ANYTHING

    @property
    def targets(self) -> Targets | None:
        """What the job says of them; None until the file was looked into."""
        return _TARGETS[self.args.task]


class Upload(File):
    """A file that was uploaded, by the hash of its content."""

    source: Literal["upload"]
    id: DatasetId

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.id


class PathFile(File):
    """A file or a folder of files below the operator's data root.

    `format` is told by the ending if left out; what has no ending is a folder, whose files tell it.
    """

    source: Literal["path"]
    path: RelativePath
    format: Format | None = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.path

    @property
    def targets(self) -> Targets | None:
        """As for any file, but that a text is known by its ending."""
        return "tokens" if self.kind == "text" else super().targets

    @property
    def provides(self) -> frozenset[str]:
        """The same."""
        return frozenset({"tokens"}) if self.kind == "text" else super().provides

    @model_validator(mode="after")
    def _has_a_format(self) -> Self:
        if self.format is None and self.suffix not in ("", *SUFFIXES):
            known = ", ".join(SUFFIXES)
            raise does_not_fit("path", f"its ending tells no format ({known}); give dataset.format")
        return self

    @property
    def suffix(self) -> str:
        """The ending of the path, in lower case."""
        return PurePosixPath(self.path).suffix.lower()

    @property
    def kind(self) -> Format | None:
        """The format, told or by the ending; None where the files of a folder tell it."""
        return self.format or SUFFIXES.get(self.suffix)
