"""Why something ended early, in words for people and a code for machines."""

import torch

from lrtuner.errors import LRTunerError
from lrtuner.evidence import Failure

OUT_OF_MEMORY = "out_of_memory"
RAISED = "raised"
_LONGEST = 500


def explained(error: Exception) -> Failure:
    """The failure that an exception stands for."""
    text = f"{type(error).__name__}: {error}"[:_LONGEST]
    if isinstance(error, LRTunerError):
        return Failure(code=error.code, message=str(error))
    return Failure(code=OUT_OF_MEMORY if _is_out_of_memory(error) else RAISED, message=text)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch's CPU allocator raises a plain RuntimeError
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
