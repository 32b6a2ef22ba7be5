"""Whether a job fits the file that it trains on, as far as the file was looked into."""

from lrtuner.datasets import Inspection, Options
from lrtuner.job import JobSpec
from lrtuner.sources import mismatch_of
from lrtuner.strict import does_not_fit

NUMBERS = (
    "its targets are numbers: say regression, or classification to take whole numbers as classes"
)


def check_fit(spec: JobSpec, found: Inspection) -> None:
    """Refuse a job that cannot train on what was found in its file.

    Raises:
        PydanticCustomError: (a ValueError) it does not fit; `field` in its context says where.
    """
    problem = mismatch_of(spec.model, spec.dataset.name, frozenset({found.kind}))
    if problem:
        raise does_not_fit("model.name", problem)
    args = spec.dataset.args
    options = args if isinstance(args, Options) else Options()
    task = found.task if options.target in (None, found.target) else None
    if options.task != "auto":
        task = options.task
    if task == "regression" and options.task == "auto":
        raise does_not_fit("dataset.args.task", NUMBERS)
    if spec.objective.measured == "val_accuracy" and task not in (None, "classification"):
        field = "objective.target.metric" if spec.objective.target else "objective.metric"
        raise does_not_fit(field, "val_accuracy needs a classification task")
    _check_target(options, found)
    if options.context_length == Options().context_length:  # else the number of examples is another
        spec.total_steps(found.splits["train"])


def _check_target(options: Options, found: Inspection) -> None:
    names = [field.name for field in found.fields]
    if options.target is None or options.target in names or len(names) < found.num_fields:
        return
    raise does_not_fit(
        "dataset.args.target",
        f"there is no column {options.target!r}; there are {', '.join(names)[:500]}",
    )
