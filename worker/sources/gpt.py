"""A small decoder-only transformer over characters."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrtuner.sources.models import Gpt
from worker.data import Data

_INIT_STD = 0.02


class Block(nn.Module):
    """Pre-norm causal self-attention and a four times wider perceptron, both residual."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attention(self.norm_attention(x))
        y: Tensor = x + self.mlp(self.norm_mlp(x))
        return y

    def _attention(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = (
            self.query_key_value(x)
            .view(batch, length, 3, self.num_heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        query, key, value = heads
        drop = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, dropout_p=drop
        )
        projected: Tensor = self.projection(mixed.transpose(1, 2).reshape(batch, length, width))
        return projected


class CharacterDecoder(nn.Module):
    """Learned character and position embeddings, blocks, and a linear readout to characters."""

    def __init__(self, config: Gpt, vocabulary: int, context: int) -> None:
        super().__init__()
        args = config.args
        self.characters = nn.Embedding(vocabulary, args.width)
        self.positions = nn.Parameter(torch.empty(context, args.width))
        self.blocks = nn.Sequential(
            *(Block(args.width, args.num_heads, args.dropout) for _ in range(args.num_layers))
        )
        self.norm = nn.LayerNorm(args.width)
        self.readout = nn.Linear(args.width, vocabulary, bias=False)
        self._initialise(args.num_layers)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.characters(tokens) + self.positions[: tokens.shape[1]]
        logits: Tensor = self.readout(self.norm(self.blocks(x)))
        return logits

    def _initialise(self, num_layers: int) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_INIT_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.positions, std=_INIT_STD)
        # each residual path adds variance: scale its last layer down with depth (GPT-2)
        for name, parameter in self.named_parameters():
            if name.endswith(("projection.weight", "mlp.2.weight")):
                nn.init.normal_(parameter, std=_INIT_STD / math.sqrt(2 * num_layers))


def build(config: Gpt, data: Data) -> nn.Module:
    """The decoder for the data's vocabulary and context length."""
    return CharacterDecoder(config, data.num_outputs, data.train.inputs.shape[1])
