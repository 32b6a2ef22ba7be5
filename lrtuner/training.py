"""How each run of a job trains: batches, length, precision, clipping, groups of parameters."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lrtuner.schedules.grammar import MAX_STEPS
from lrtuner.strict import Strict, does_not_fit


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("only printable characters are allowed")
    return value


Pattern = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
"""Names of parameters as a shell has names of files: `*` any characters, `?` one, `[ab]` a or b."""

Patterns = Annotated[list[Pattern], Field(max_length=64)]


def matches(name: str, patterns: list[str]) -> bool:
    """Whether one of the patterns is the whole of `name`."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class ParamGroup(Strict):
    """The parameters that `match`, and what is different for them.

    They train at `lr_ratio` times the schedule's rate, and with this weight decay where one is
    given. The rate of a schedule is that of the parameters with ratio 1, the largest.
    """

    match: Annotated[Pattern, Field(description="What the names of its parameters look like.")]
    lr_ratio: Annotated[float, Field(gt=0, le=1, description="Its part of the rate.")] = 1.0
    weight_decay: Annotated[float, Field(ge=0, le=10)] | None = Field(
        default=None, description="Its own weight decay; null for that of the optimizer."
    )


class Training(Strict):
    """How each run trains. Exactly one of `epochs` and `steps` says how long.

    An update (a step) is one of the optimizer: it is made from `grad_accum` batches of `batch_size`
    examples each, the mean of their gradients. `bf16` and `fp16` are automatic mixed precision,
    `fp16` with a scaler of the loss: an update whose gradients overflow is made again with the next
    batches. Gradients are clipped as they are without that scale.

    The first of `param_groups` that a parameter matches is its group. Of `no_decay` it needs to
    match one to have no weight decay; `biases_and_norms` are those of at most one dimension and
    those called bias. What matches `freeze` keeps the value it is initialised with, and a
    normalisation layer frozen as a whole its statistics.

    With `ema_decay` d an average of the weights is what is evaluated: average = d' average +
    (1 - d') weights after update t, d' = min(d, (1 + t) / (10 + t)), so that it forgets where it
    began. The statistics of BatchNorm are averaged in the same way.
    """

    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    steps: Annotated[int, Field(ge=2, le=MAX_STEPS)] | None = None
    grad_accum: Annotated[int, Field(ge=1, le=65536)] = 1
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    grad_clip_norm: Annotated[float, Field(gt=0)] | None = None
    grad_clip_value: Annotated[float, Field(gt=0)] | None = None
    param_groups: Annotated[list[ParamGroup], Field(max_length=64)] = []
    no_decay: Literal["biases_and_norms"] | Patterns = []
    freeze: Patterns = []
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self

    @model_validator(mode="after")
    def _one_way_to_clip(self) -> Self:
        if self.grad_clip_norm is not None and self.grad_clip_value is not None:
            raise does_not_fit("grad_clip_value", "clip by norm or by value, not by both")
        return self

    @property
    def names_parameters(self) -> bool:
        """Whether it depends on the names of the model's parameters."""
        return bool(self.param_groups or self.no_decay or self.freeze)

    @property
    def examples_per_update(self) -> int:
        """Examples that an update is made from."""
        return self.batch_size * self.grad_accum

    def total_steps(self, num_train: int) -> int:
        """Updates in one full run over `num_train` examples; incomplete ones are dropped."""
        return self.steps or (self.epochs or 0) * self.steps_per_epoch(num_train)

    def steps_per_epoch(self, num_train: int) -> int:
        """Whole updates in one pass over `num_train` examples."""
        return num_train // self.examples_per_update
