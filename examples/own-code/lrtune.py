"""A character-level GRU on English prose: a model, data, loss and metric that lrtuner has not.

    lrtuner check-task examples/own-code/job.json --code examples/own-code
    lrtuner submit examples/own-code/job.json --code examples/own-code --wait

The prose is the documentation strings of Python's standard library, which every machine has.
"""

import ast
import sysconfig
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrtuner import Context, Task

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # all else counts as one unknown character


class CharacterGru(nn.Module):
    """Embedding, GRU, and the next character at every place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET) + 1, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.readout = nn.Linear(width, len(ALPHABET) + 1)

    def forward(self, characters: Tensor) -> Tensor:
        states, _ = self.gru(self.embedding(characters))
        scores: Tensor = self.readout(states)
        return scores


class Windows(torch.utils.data.Dataset[Tensor]):
    """Overlapping windows of a text, each with the character after it."""

    def __init__(self, text: Tensor, length: int, stride: int) -> None:
        self.windows = text.unfold(0, length + 1, stride)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Tensor:
        return self.windows[index]


def step(model: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The cross-entropy of the next character, and the share of characters that were guessed."""
    scores, following = model(batch[:, :-1]), batch[:, 1:]
    loss = functional.cross_entropy(scores.flatten(0, 1), following.flatten())
    return loss, {"guessed": (scores.argmax(-1) == following).float().mean()}


def prose(max_chars: int) -> Tensor:
    """Documentation strings of the standard library, as numbers of characters."""
    parts: list[str] = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        nodes = [node for node in ast.walk(tree) if isinstance(node, documented)]
        parts += [ast.get_docstring(node) or "" for node in nodes]
        if sum(map(len, parts)) > max_chars:
            break
    codes = {character: code for code, character in enumerate(ALPHABET)}
    text = "\n".join(part for part in parts if part)[:max_chars]
    return torch.tensor([codes.get(character, len(ALPHABET)) for character in text])


def build(context: Context) -> Task:
    """Train on the first 80 % of the text, validate on the next 10 %, test on the rest."""
    length, width = context.args.get("length", 24), context.args.get("width", 32)
    text = prose(context.args.get("max_chars", 30_000))
    first, second = int(0.8 * len(text)), int(0.9 * len(text))
    return Task(
        model=lambda: CharacterGru(width),
        train=Windows(text[:first], length, stride=length // 2),
        validation=Windows(text[first:second], length, stride=length),
        test=Windows(text[second:], length, stride=length),
        step=step,
    )
