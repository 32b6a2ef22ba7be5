"""The models that come with lrtuner."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lrtuner.sources.config import Config, Targets

Width = Annotated[int, Field(ge=1, le=65536)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class MlpArgs(Config):
    """Hidden layer widths, activation between them and dropout after each."""

    hidden: Annotated[list[Width], Field(max_length=32)] = [256, 256]
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    dropout: Probability = 0.0


class Mlp(Config):
    """A fully connected network."""

    source: Literal["builtin"] = "builtin"
    name: Literal["mlp"] = "mlp"
    args: MlpArgs = MlpArgs()

    accepts: ClassVar[frozenset[str]] = frozenset({"features", "images"})


class ConvnetArgs(Config):
    """Channels of each 3x3 convolution (batch norm, ReLU), then pooling and a linear layer."""

    channels: Annotated[
        list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=16)
    ] = [
        16,
        32,
    ]
    dropout: Probability = 0.0


class Convnet(Config):
    """A small convolutional network with batch normalisation for images."""

    source: Literal["builtin"] = "builtin"
    name: Literal["convnet"] = "convnet"
    args: ConvnetArgs = ConvnetArgs()

    accepts: ClassVar[frozenset[str]] = frozenset({"images"})


class GptArgs(Config):
    """Width (a multiple of `num_heads`), layers and heads of a decoder-only transformer."""

    width: Annotated[int, Field(ge=8, le=4096)] = 64
    num_layers: Annotated[int, Field(ge=1, le=64)] = 2
    num_heads: Annotated[int, Field(ge=1, le=64)] = 4
    dropout: Probability = 0.0

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} must be a multiple of num_heads {self.num_heads}")
        return self


class Gpt(Config):
    """A small character-level transformer decoder for language modelling."""

    source: Literal["builtin"] = "builtin"
    name: Literal["gpt"] = "gpt"
    args: GptArgs = GptArgs()

    accepts: ClassVar[frozenset[str]] = frozenset({"tokens"})
    learns: ClassVar[frozenset[Targets]] = frozenset({"tokens"})


# The one line that a new built-in model adds itself to.
BuiltinModel = Mlp | Convnet | Gpt
