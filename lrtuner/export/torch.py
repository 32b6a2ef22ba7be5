"""A self-contained PyTorch module: the formula in plain Python behind a `LambdaLR`."""

from lrtuner.document import AnyDocument, ReactiveDocument, ScheduleDocument
from lrtuner.export import _formula
from lrtuner.export._base import Exporter, computed
from lrtuner.export._module import (
    CLOCK_IMPORTS,
    PLATEAU_IMPORTS,
    TORCH_IMPORTS,
    TORCH_LOOPS,
    clock_scheduler,
    lambda_scheduler,
    module,
    plateau_scheduler,
    summary,
    torch_class,
    written,
)


def render(schedule: ScheduleDocument) -> str:
    """The module's source: `learning_rate(t)` and `make_scheduler(optimizer)`."""
    doc = _doc(schedule, TORCH_LOOPS[schedule.unit])
    imports, formula = _formula.imports(schedule), _formula.source(schedule)
    if schedule.unit == "second":
        return module(doc, [*imports, *CLOCK_IMPORTS], formula, clock_scheduler())
    return module(doc, [*imports, *TORCH_IMPORTS], formula, lambda_scheduler())


def render_reactive(document: ReactiveDocument) -> str:
    """The module's source: `make_scheduler(optimizer)` gives torch's `ReduceLROnPlateau`."""
    loop = f"""\
    for {document.unit} in ...:
        ...
        scheduler.step(metric)  # the value of {document.body.monitor}, once per {document.unit}"""
    return module(_doc(document, loop), PLATEAU_IMPORTS, plateau_scheduler(document))


def _doc(document: AnyDocument, loop: str) -> str:
    return f"""
Learning-rate schedule for PyTorch: {summary(document)}.

    optimizer = torch.optim.{torch_class(document)}(model.parameters(), lr=PEAK_LR)
    scheduler = make_scheduler(optimizer)
{loop}

{written(document)}
"""


EXPORTER = Exporter(
    title="a self-contained PyTorch module with the schedule as a LambdaLR",
    media_type="text/x-python",
    filename="schedule_torch.py",
    closed_form=render,
    judge=computed,
    reactive=render_reactive,
)
