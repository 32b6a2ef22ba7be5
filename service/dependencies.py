"""What an endpoint can ask for: the database, the settings, an id, a page of something.

Dependencies that only look something up are `async`: the framework sends others to a thread.
"""

from typing import Annotated, Any

from fastapi import Depends, Path, Request
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from service.problem import ProblemError
from service.settings import Settings
from service.storage import Storage
from service.watching import Watcher
from service.wording import did_you_mean, plain

_LARGEST_NUMBER = 2**31 - 1


class Parameters(BaseModel):
    """Query parameters; unknown ones are refused, because ignoring a filter changes the answer."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @classmethod
    def is_free_form(cls, name: str) -> bool:  # noqa: ARG003 - for subclasses
        """Whether an undeclared parameter of that name is welcome."""
        return False

    @model_validator(mode="before")
    @classmethod
    def _known_only(cls, data: Any) -> Any:
        for name in data:
            if name not in cls.model_fields and not cls.is_free_form(name):
                known = list(cls.model_fields)
                raise parameter_error(
                    name,
                    f"unknown parameter{did_you_mean(name, known)}; "
                    f"the parameters here are {', '.join(known)}",
                )
        return data


def parameter_error(name: str, reason: str) -> PydanticCustomError:
    """What a check of `Parameters` raises: `reason` is all of the sentence but the name."""
    return PydanticCustomError(
        "parameter", "{parameter}: {reason}", {"parameter": plain(name[:100]), "reason": reason}
    )


async def storage(request: Request) -> Storage:
    """The database, opened when the service started."""
    found: Storage = request.app.state.storage
    return found


async def settings(request: Request) -> Settings:
    """The settings that the service was started with."""
    found: Settings = request.app.state.settings
    return found


async def watcher(request: Request) -> Watcher:
    """What tells of changes of jobs, started with the service."""
    found: Watcher = request.app.state.watcher
    return found


def number_after(cursor: str | None, *, first: int) -> int:
    """The number behind which a numbered list goes on; `first` when there is no cursor.

    Raises:
        ProblemError: the cursor is no number that this service gave out.
    """
    if cursor is None:
        return first
    if not (cursor.isascii() and cursor.isdecimal() and int(cursor[:20]) <= _LARGEST_NUMBER):
        raise bad_cursor()
    return int(cursor)


def bad_cursor() -> ProblemError:
    """The answer to a cursor that this service did not give out."""
    return ProblemError("bad_cursor", "after: not a cursor that this service gave out.")


StorageDep = Annotated[Storage, Depends(storage)]
WatcherDep = Annotated[Watcher, Depends(watcher)]
SettingsDep = Annotated[Settings, Depends(settings)]
JOB_ID = r"^[A-Za-z0-9_-]{1,64}$"
JobId = Annotated[
    str,
    Path(pattern=JOB_ID, examples=["job_mfzwizltoq2xg3dfpa7xk4tfnu"]),
]
