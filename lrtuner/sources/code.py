"""Code that builds the whole task: a project that was uploaded, or what the operator installed."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from lrtuner.sources.config import ANYTHING, Config, NoArgs, Targets

CodeId = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
"""What an uploaded project is called: the SHA-256 of its zip file."""

Target = Annotated[
    str, Field(max_length=200, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
]
"""A function: `package.module:name`."""

_DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
_ALLOWED = re.compile(rf"{_DOTTED}(:[A-Za-z_]\w*|\.\*)")


def _of_targets_or_packages(value: str) -> str:
    for entry in _entries(value):
        if not _ALLOWED.fullmatch(entry):
            raise ValueError(f"{entry!r} is neither package.module:function nor package.*")
    return value


AllowedList = Annotated[str, AfterValidator(_of_targets_or_packages)]
"""An operator's list: `package.module:function` or `package.*`, separated by commas."""


def allowed(target: str, allowed_list: str) -> bool:
    """Whether an operator's list has the target.

    `package.*` stands for every function of the package and of all modules in it.
    """
    module = target.partition(":")[0]
    for entry in _entries(allowed_list):
        if entry == target:
            return True
        if entry.endswith(".*") and f"{module}.".startswith(entry[:-1]):
            return True
    return False


def _entries(allowed_list: str) -> list[str]:
    return [entry.strip() for entry in allowed_list.split(",") if entry.strip()]


class Building(Config):
    """`args` are handed to the function that builds, as `context.args`."""

    args: dict[str, Any] = {}

    accepts: ClassVar[frozenset[str]] = ANYTHING


class Code(Building):
    """A project with a file `lrtune.py`, whose `build` is called (see `lrtuner.Task`).

    `lrtuner submit --code FOLDER` uploads the folder and fills in `id`.
    """

    source: Literal["code"]
    id: CodeId | None = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return "code"


class Entrypoint(Building):
    """A function that is installed where the worker runs, and that its operator allows."""

    source: Literal["entrypoint"]
    target: Target

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.target


class OwnData(Config):
    """The data that the code brings itself; what a job with such a model has if it names none."""

    source: Literal["code"] = "code"
    args: NoArgs = NoArgs()

    name: ClassVar[str] = "code"
    provides: ClassVar[frozenset[str]] = ANYTHING
    targets: ClassVar[Targets | None] = None
    num_examples: ClassVar[int | None] = None
