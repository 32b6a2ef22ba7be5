"""The optimizers that may be asked for: one config class each, all but the rate.

Of `torch.optim` those are left out to which a schedule of rates means something else: LBFGS (it
needs the loss again within a step), SparseAdam (sparse gradients only), Rprop (the rate is that of
the first step alone) and ASGD (it uses a rate one update late, and decays it by itself).
"""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from lrtuner.sources import Config, NoArgs

WeightDecay = Annotated[float, Field(ge=0, le=10)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=1)]
Betas = Annotated[list[Beta], Field(min_length=2, max_length=2)]


def _off(value: float | bool) -> bool:
    return not value


# left out where it is off: configs from before keep their content hash
Switch = Annotated[bool, Field(exclude_if=_off)]

NormOrder = Literal[1, 2]
"""Which norm of the gradients says how large steps should be, and with which exponent (see
`lrtuner.refine`): l2 where a step follows the gradient, l1 where each weight's step is divided by
the size of its own gradients (Defazio et al. 2023, arXiv 2310.07831)."""


class SgdArgs(Config):
    """torch.optim.SGD without `lr`, which is what gets tuned."""

    momentum: Beta = 0.0
    nesterov: bool = False
    weight_decay: WeightDecay = 0.0
    dampening: Annotated[float, Field(ge=0, le=1, exclude_if=_off)] = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        if self.nesterov and self.dampening:
            raise ValueError("nesterov needs a dampening of 0")
        return self


class Sgd(Config):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    args: SgdArgs = SgdArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (0.1, 0.01)
    norm_order: ClassVar[NormOrder] = 2


class AdamArgs(Config):
    """torch.optim.Adam without `lr`; the weight decay is L2 added to the gradient."""

    betas: Betas = [0.9, 0.999]
    eps: Epsilon = 1e-8
    weight_decay: WeightDecay = 0.0
    amsgrad: Switch = False


class Adam(Config):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980)."""

    name: Literal["adam"] = "adam"
    args: AdamArgs = AdamArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (3e-3, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class AdamWArgs(AdamArgs):
    """torch.optim.AdamW without `lr`; the weight decay is decoupled."""

    weight_decay: WeightDecay = 0.01


class AdamW(Config):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"
    args: AdamWArgs = AdamWArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (3e-3, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class RmspropArgs(Config):
    """torch.optim.RMSprop without `lr`."""

    alpha: Beta = 0.99
    eps: Epsilon = 1e-8
    momentum: Beta = 0.0
    weight_decay: WeightDecay = 0.0
    centered: Switch = False


class Rmsprop(Config):
    """RMSprop (Tieleman and Hinton 2012)."""

    name: Literal["rmsprop"] = "rmsprop"
    args: RmspropArgs = RmspropArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (1e-2, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class AdadeltaArgs(Config):
    """torch.optim.Adadelta without `lr`."""

    rho: Beta = 0.9
    eps: Epsilon = 1e-6
    weight_decay: WeightDecay = 0.0


class Adadelta(Config):
    """Adadelta (Zeiler 2012, arXiv 1212.5701)."""

    name: Literal["adadelta"] = "adadelta"
    args: AdadeltaArgs = AdadeltaArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (1.0, 0.1)
    norm_order: ClassVar[NormOrder] = 1


class AdafactorArgs(Config):
    """torch.optim.Adafactor without `lr`; `eps`: [of squared gradients, of the weights' size]."""

    beta2_decay: Annotated[float, Field(ge=-1, le=0)] = -0.8
    eps: Annotated[list[Epsilon | None], Field(min_length=2, max_length=2)] = [None, 1e-3]
    d: Annotated[float, Field(ge=1, le=1e6)] = 1.0
    weight_decay: WeightDecay = 0.0

    @model_validator(mode="after")
    def _second_is_given(self) -> Self:
        if self.eps[1] is None:
            raise ValueError("the second eps must be a number above 0")
        return self


class Adafactor(Config):
    """Adafactor (Shazeer and Stern 2018, arXiv 1804.04235), with steps relative to the weights.

    Update t uses min(rate, 1 / sqrt(t)): a schedule above that has no effect there.
    """

    name: Literal["adafactor"] = "adafactor"
    args: AdafactorArgs = AdafactorArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (1e-2, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class AdagradArgs(Config):
    """torch.optim.Adagrad without `lr`, and without `lr_decay`: a schedule is in its place."""

    initial_accumulator_value: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    eps: Epsilon = 1e-10
    weight_decay: WeightDecay = 0.0


class Adagrad(Config):
    """Adagrad (Duchi et al. 2011)."""

    name: Literal["adagrad"] = "adagrad"
    args: AdagradArgs = AdagradArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (1e-2, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class AdamaxArgs(Config):
    """torch.optim.Adamax without `lr`."""

    betas: Betas = [0.9, 0.999]
    eps: Epsilon = 1e-8
    weight_decay: WeightDecay = 0.0


class Adamax(Config):
    """Adam with the largest gradient in place of their mean square (Kingma and Ba 2015)."""

    name: Literal["adamax"] = "adamax"
    args: AdamaxArgs = AdamaxArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (2e-3, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class NAdamArgs(AdamaxArgs):
    """torch.optim.NAdam without `lr`."""

    momentum_decay: Annotated[float, Field(ge=0, le=1)] = 4e-3
    decoupled_weight_decay: bool = False


class NAdam(Config):
    """Adam with Nesterov momentum (Dozat 2016)."""

    name: Literal["nadam"] = "nadam"
    args: NAdamArgs = NAdamArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (2e-3, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class RAdamArgs(AdamaxArgs):
    """torch.optim.RAdam without `lr`."""

    decoupled_weight_decay: bool = False


class RAdam(Config):
    """Rectified Adam (Liu et al. 2020, arXiv 1908.03265): it warms up by itself."""

    name: Literal["radam"] = "radam"
    args: RAdamArgs = RAdamArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (3e-3, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class LionArgs(Config):
    """pytorch_optimizer.Lion without `lr`; the weight decay is decoupled."""

    betas: Betas = [0.9, 0.99]
    weight_decay: WeightDecay = 0.0


class Lion(Config):
    """Lion (Chen et al. 2023, arXiv 2302.06675): the sign of a momentum; 3 to 10 times less rate.

    That is beside AdamW, by its authors.
    """

    name: Literal["lion"] = "lion"
    args: LionArgs = LionArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (3e-4, 1e-4)
    norm_order: ClassVar[NormOrder] = 1


class MuonArgs(Config):
    """torch.optim.Muon without `lr`; `betas` and `eps` are those of AdamW for all other weights."""

    momentum: Beta = 0.95
    nesterov: bool = True
    ns_steps: Annotated[int, Field(ge=1, le=20)] = 5
    weight_decay: WeightDecay = 0.1
    betas: Betas = [0.9, 0.999]
    eps: Epsilon = 1e-8


class Muon(Config):
    """Muon (Jordan 2024) for weight matrices, AdamW for all else, at one and the same rate.

    Embeddings and what is not of two dimensions go to AdamW. Muon's steps are made as large as
    AdamW's would be (Liu et al. 2025, arXiv 2502.16982), so one schedule fits both.
    """

    name: Literal["muon"] = "muon"
    args: MuonArgs = MuonArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (3e-3, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


class Custom(Config):
    """What `optimizer` of a `lrtuner.Task` makes: for code as the model alone.

    Nothing is known of it: its usual rates and the norm are those of most adaptive optimizers.
    """

    name: Literal["custom"] = "custom"
    args: NoArgs = NoArgs()

    default_lrs: ClassVar[tuple[float, ...]] = (1e-2, 1e-3)
    norm_order: ClassVar[NormOrder] = 1


# The one line that a new optimizer adds itself to.
NamedOptimizer = (
    Sgd
    | Adam
    | AdamW
    | Rmsprop
    | Adadelta
    | Adafactor
    | Adagrad
    | Adamax
    | NAdam
    | RAdam
    | Lion
    | Muon
)
AnyOptimizer = NamedOptimizer | Custom
Optimizer = Annotated[AnyOptimizer, Field(discriminator="name")]

OPTIMIZERS: dict[str, type[NamedOptimizer]] = {
    o.model_fields["name"].default: o for o in get_args(NamedOptimizer)
}

COMPARED = (Sgd, Adam, AdamW, Rmsprop)
"""Those that an optimizer without a schedule stands for, in a comparison."""
