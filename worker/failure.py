"""Why something ended early, in words for people and a code for machines."""

import torch

from lrtuner.errors import LRTunerError
from lrtuner.evidence import Failure
from worker.journal import storable

OUT_OF_MEMORY = "out_of_memory"
RAISED = "raised"


def explained(error: Exception) -> Failure:
    """The failure that an exception stands for."""
    if isinstance(error, LRTunerError):
        return Failure(code=error.code, message=storable(str(error)))
    text = storable(f"{type(error).__name__}: {error}")
    return Failure(code=OUT_OF_MEMORY if is_out_of_memory(error) else RAISED, message=text)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that there is no memory left, of the machine or of a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch's CPU allocator raises a plain RuntimeError
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
