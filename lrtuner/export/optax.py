"""A self-contained module for optax: a table of rates behind a function of the count."""

from lrtuner.document import AnyDocument, ExportFidelity, ReactiveDocument, ScheduleDocument
from lrtuner.export import _formula, _plateau, _table
from lrtuner.export._base import Exporter, computed_by_steps
from lrtuner.export._module import grad_accum, module, summary, torch_class, written
from lrtuner.export._native import definition
from lrtuner.export._optax_native import native

_IMPORTS = ("import jax", "import jax.numpy as jnp", "import numpy as np")

_SCHEDULE = '''def schedule(count: jax.typing.ArrayLike) -> jax.Array:
    """The rate of update number `count`, from 0, also under jit; after the horizon it is held."""
    return jnp.take(jnp.asarray(RATES), jnp.clip({t}, 0, TOTAL_STEPS))
'''


def render(schedule: ScheduleDocument) -> str:
    """The module's source: `schedule(count)`, and `native_schedule()` where optax has the same."""
    imports = [*_formula.imports(schedule), *_IMPORTS]
    parts = [_table.source(schedule)]
    if schedule.unit == "epoch":
        assert schedule.context  # noqa: S101 - else unsupported
        parts.append(f"STEPS_PER_EPOCH = {schedule.context.steps_per_epoch!r}")
        parts.append(_SCHEDULE.format(t="count // STEPS_PER_EPOCH"))
        return module(_doc(schedule), imports, *parts)
    parts.append(_SCHEDULE.format(t="count"))
    if own := native(schedule):
        imports.append("import optax")
        doc = "The same made of optax's own schedules."
        parts.append(definition(own, schedule, returns="optax.Schedule", doc=doc))
    return module(_doc(schedule), imports, *parts)


def _doc(schedule: ScheduleDocument) -> str:
    k = grad_accum(schedule)
    accumulating = (
        f"\n    optimizer = optax.MultiSteps(optimizer, every_k_schedule={k})" if k > 1 else ""
    )
    return f"""
Learning-rate schedule for optax: {summary(schedule)}.

    optimizer = optax.{_function(schedule)}(learning_rate=schedule){accumulating}

Inside `optax.MultiSteps` optax counts updates, not the micro-batches that make one. The count is
part of the optimizer's state: a checkpoint of that is all it takes to resume.

{written(schedule)}
"""


def render_reactive(document: ReactiveDocument) -> str:
    """The module's source: a class `Plateau` that is asked between updates, outside jit."""
    patience = document.body.patience + 1
    doc = f"""
Learning-rate schedule for optax: {summary(document)}.

    optimizer = optax.inject_hyperparams(optax.{_function(document)})(learning_rate=PEAK_LR)
    plateau = Plateau()
    for {document.unit} in ...:
        ...
        opt_state.hyperparams["learning_rate"] = plateau.step(metric)  # {document.body.monitor}

`optax.contrib.reduce_on_plateau` counts otherwise (its patience would be {patience}), looks at
every update, and can only minimise.

{written(document)}
"""
    return module(doc, ["import math"], _plateau.source(document))


def fidelity(schedule: ScheduleDocument) -> ExportFidelity:
    """That of a table, for what can be counted in steps."""
    stated = computed_by_steps(schedule)
    return stated if stated.fidelity == "unsupported" else _table.fidelity(schedule)


def _function(document: AnyDocument) -> str:
    """The function in optax of the optimizer that the schedule was tuned for."""
    return torch_class(document).lower()


EXPORTER = Exporter(
    title="a self-contained module with the schedule for optax",
    media_type="text/x-python",
    filename="schedule_optax.py",
    closed_form=render,
    judge=fidelity,
    reactive=render_reactive,
)
