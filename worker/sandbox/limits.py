"""How much code of others may use."""

from typing import Annotated

from pydantic import Field

from lrtuner.strict import Strict


class Limits(Strict):
    """Limits of one sandbox: all its processes together, but for `open_files`."""

    memory_mb: Annotated[int, Field(ge=64, description="Memory, MiB.")] = 8192
    answer_seconds: Annotated[float, Field(gt=0, description="Until the next answer, s.")] = 3600.0
    scratch_mb: Annotated[int, Field(ge=1, description="Files of its own, MiB.")] = 1024
    processes: Annotated[int, Field(ge=1, description="Processes and threads.")] = 128
    open_files: Annotated[int, Field(ge=16, description="Open files of a process.")] = 1024
