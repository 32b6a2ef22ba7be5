"""The losses that may be asked for: one config class each, and which task it fits."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from lrtuner.sources import AnyDataset, Config, NoArgs, Targets

TASKS: dict[Targets, str] = {
    "classes": "classification",
    "tokens": "language modelling",
    "labels": "multi-label classification",
    "values": "regression",
    "inputs": "autoencoding",
}
"""What training on each kind of targets is called."""

Weight = Annotated[float, Field(gt=0, le=1e6)]
Weights = Annotated[list[Weight], Field(min_length=1, max_length=65536)]


class CrossEntropyArgs(Config):
    """`class_weights`: one for each class; `label_smoothing`: the share given to all classes."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Weights | None = None


class CrossEntropy(Config):
    """-log of the probability of the right class or token, the mean over all of them.

    With weights w the weighted mean, sum w_y loss / sum w_y over a batch or a split, as in torch.
    Smoothing is for training: the loss that is measured on a split is without it.
    """

    name: Literal["cross_entropy"] = "cross_entropy"
    args: CrossEntropyArgs = CrossEntropyArgs()

    fits: ClassVar[frozenset[Targets]] = frozenset({"classes", "tokens"})


class BinaryCrossEntropyArgs(Config):
    """`pos_weight`: what a label that is there counts beside one that is not; one for each."""

    pos_weight: Weights | None = None


class BinaryCrossEntropy(Config):
    """-log of the probability of each label being there or not, the mean over all of them."""

    name: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    args: BinaryCrossEntropyArgs = BinaryCrossEntropyArgs()

    fits: ClassVar[frozenset[Targets]] = frozenset({"labels"})


class Mse(Config):
    """The mean of the squared differences."""

    name: Literal["mse"] = "mse"
    args: NoArgs = NoArgs()

    fits: ClassVar[frozenset[Targets]] = frozenset({"values"})


class Mae(Config):
    """The mean of the absolute differences."""

    name: Literal["mae"] = "mae"
    args: NoArgs = NoArgs()

    fits: ClassVar[frozenset[Targets]] = frozenset({"values"})


class HuberArgs(Config):
    """Up to the difference `delta` the loss is a square, beyond it a line."""

    delta: Annotated[float, Field(gt=0, le=1e6)] = 1.0


class Huber(Config):
    """d^2 / 2 of a difference d up to delta, else delta (d - delta / 2): Huber (1964)."""

    name: Literal["huber"] = "huber"
    args: HuberArgs = HuberArgs()

    fits: ClassVar[frozenset[Targets]] = frozenset({"values"})


class Reconstruction(Config):
    """Autoencoding: the mean squared difference of the output and the input; no targets are used.

    The model has as many outputs as an example has numbers.
    """

    name: Literal["reconstruction"] = "reconstruction"
    args: NoArgs = NoArgs()

    fits: ClassVar[frozenset[Targets]] = frozenset({"inputs"})


# The one line that a new loss adds itself to.
AnyLoss = CrossEntropy | BinaryCrossEntropy | Mse | Mae | Huber | Reconstruction
Loss = Annotated[AnyLoss, Field(discriminator="name")]

LOSSES: dict[str, type[AnyLoss]] = {k.model_fields["name"].default: k for k in get_args(AnyLoss)}

_DEFAULTS: dict[Targets, AnyLoss] = {
    "classes": CrossEntropy(),
    "tokens": CrossEntropy(),
    "labels": BinaryCrossEntropy(),
    "values": Mse(),
}


def usual_loss(dataset: AnyDataset) -> AnyLoss:
    """The loss of a job that names none; cross-entropy as long as the targets are not known."""
    return _DEFAULTS[dataset.targets] if dataset.targets else CrossEntropy()


def learned(loss: AnyLoss, dataset: AnyDataset) -> Targets | None:
    """What the model is to give: the dataset's targets, or the inputs where it reconstructs."""
    return "inputs" if isinstance(loss, Reconstruction) else dataset.targets


def misfit(loss: AnyLoss, dataset: AnyDataset) -> str | None:
    """Why `loss` cannot be trained on `dataset`, with what could; None when it can."""
    if dataset.targets is None:
        return None
    possible: set[Targets] = {dataset.targets}
    if dataset.provides & {"features", "images"}:
        possible.add("inputs")
    if loss.fits & possible:
        return None
    fitting = sorted(name for name, other in LOSSES.items() if other.fits & possible)
    return (
        f"loss {loss.name!r} is for {' or '.join(sorted(TASKS[kind] for kind in loss.fits))}, but "
        f"dataset {dataset.name!r} is for {TASKS[dataset.targets]}; losses that fit: "
        f"{', '.join(fitting)}"
    )
