"""Content in three splits: those of the file, and by the seed those that it does not bring."""

import numpy as np

from lrtuner.datasets.content import SPLITS, Content, Part

HELD_OUT = 0.15
"""The share of validation and of test."""


def sizes(content: Content) -> dict[str, int]:
    """How many examples each split gets."""
    whole, parts, missing = _parts(content)
    counts = {split: len(part) for split, part in parts.items()}
    counts |= _counts(len(whole), missing)
    return {split: counts[split] for split in SPLITS}


def cut(content: Content, seed: int) -> dict[str, Part]:
    """Three disjoint splits.

    Of content without splits 70 % train, 15 % validate and the rest test; where the file brings
    a training split, validation or test that it lacks are 15 % of that each. Text is cut into
    consecutive stretches, everything else by a permutation that the seed gives.
    """
    whole, parts, missing = _parts(content)
    order = None
    if not content.in_order:
        order = np.random.default_rng(seed).permutation(len(whole))
    counts = _counts(len(whole), missing)
    at = 0
    for split in ("train", *missing):
        rows = slice(at, at + counts[split])
        if order is None:
            parts[split] = Part(whole.inputs[rows], whole.targets[rows])
        else:
            taken = (content.room.taken(v, order[rows]) for v in (whole.inputs, whole.targets))
            parts[split] = Part(*taken)
        at += counts[split]
    return {split: parts[split] for split in SPLITS}


def _parts(content: Content) -> tuple[Part, dict[str, Part], list[str]]:
    """What is cut, the other parts, and those that are missing."""
    parts = dict(content.parts)
    whole = parts.pop("all", None) or parts.pop("train")
    return whole, parts, [split for split in SPLITS[1:] if split not in parts]


def _counts(number: int, missing: list[str]) -> dict[str, int]:
    if len(missing) == 2:  # as the built-in data sets are split
        train, validation = round(number * 0.7), round(number * HELD_OUT)
        return {"train": train, "validation": validation, "test": number - train - validation}
    held_out = {split: round(number * HELD_OUT) for split in missing}
    return {"train": number - sum(held_out.values()), **held_out}
