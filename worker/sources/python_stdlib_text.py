"""Characters of the Python standard library's source: real text that every machine has."""

import random
import sysconfig
from pathlib import Path

import torch

from lrtuner.errors import JobFailedError
from lrtuner.sources import split_sizes
from lrtuner.sources.datasets import PythonStdlibText
from worker.data import Data, Split

# Printable ASCII and the newline; a tab counts as a space, everything else as one unknown sign.
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
UNKNOWN = len(ALPHABET)
_LEAST_EXAMPLES = 20


def build(config: PythonStdlibText, seed: int) -> Data:
    """Windows of `context_length` characters and the characters that follow each.

    Whole files in an order given by the seed, cut at `max_chars`; train, validation and test are
    consecutive stretches, so that no window of one overlaps another's.
    """
    args = config.args
    tokens = _tokens(_text(args.max_chars, seed))
    length = args.context_length
    count = (len(tokens) - 1) // length
    if count < _LEAST_EXAMPLES:
        raise JobFailedError(
            f"the standard library on this machine gives {count} windows of {length} characters; "
            f"at least {_LEAST_EXAMPLES} are needed"
        )
    inputs = tokens[: count * length].view(count, length)
    targets = tokens[1 : count * length + 1].view(count, length)
    sizes = split_sizes(count)
    splits = map(Split, inputs.split(sizes), targets.split(sizes))
    return Data(len(ALPHABET) + 1, *splits)


def _text(max_chars: int, seed: int) -> str:
    folder = Path(sysconfig.get_path("stdlib"))
    # top-level modules and packages only: site-packages lies below and differs between machines
    files = sorted([*folder.glob("*.py"), *folder.glob("asyncio/*.py"), *folder.glob("email/*.py")])
    random.Random(seed).shuffle(files)
    parts, size = [], 0
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        parts.append(text)
        size += len(text)
        if size >= max_chars:
            break
    return "".join(parts)[:max_chars]


def _tokens(text: str) -> torch.Tensor:
    codes = {character: code for code, character in enumerate(ALPHABET)}
    codes["\t"] = codes[" "]
    return torch.tensor([codes.get(character, UNKNOWN) for character in text])
