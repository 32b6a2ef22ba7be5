"""What a worker may do with code that is not ours: its settings, as its child is told them."""

from lrtuner.strict import Strict
from worker.sandbox.limits import Limits
from worker.settings import Settings


class Rules(Strict):
    """The settings of that name, `LRTUNER_CODE_...` or `LRTUNER_...`; see there."""

    sandbox: bool = False
    code: bool = False
    entrypoints: str = ""
    walls: str = ""
    limits: Limits = Limits()
    data_dir: str = ".lrtuner"


def rules_of(settings: Settings) -> Rules:
    """What these settings say of it."""
    return Rules(
        sandbox=settings.sandbox,
        code=settings.code,
        entrypoints=settings.entrypoints,
        walls=settings.code_walls,
        limits=settings.code_limits,
        data_dir=str(settings.data_dir.absolute()),
    )
