"""Datasets that Hugging Face `datasets` saved to disk: texts, tokens and images."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrtuner.datasets import cut
from lrtuner.datasets.content import LEAST_EXAMPLES, Content, Part
from lrtuner.datasets.limits import MEBIBYTE, Limits
from lrtuner.datasets.targets import Targets, encoded, encoded_texts
from lrtuner.errors import InvalidDatasetError, JobFailedError, UnsupportedError
from lrtuner.sources.libraries import HuggingFace, HuggingFaceArgs
from worker.data import Data, Split
from worker.losses import IGNORED
from worker.settings import Settings
from worker.sources import saved, transformers
from worker.sources.libraries import below_root, first_line
from worker.sources.saved import Saved

_AT_ONCE = 1000
_USUAL_TARGET = "label"

Rows = list[list[int]]


def build(config: HuggingFace, seed: int) -> Data:
    """The dataset's own splits; those that it lacks are cut by the seed.

    Raises:
        JobFailedError: it is not there, or does not fit the job's arguments.
    """
    folder = below_root(config.path, "dataset.path")
    limits = Limits(array_bytes=Settings().max_dataset_mb * MEBIBYTE)
    try:
        return _data(saved.read(folder), config.args, seed, limits)
    except (InvalidDatasetError, UnsupportedError) as error:
        raise JobFailedError(f"dataset: {error}") from None


def _data(found: Saved, args: HuggingFaceArgs, seed: int, limits: Limits) -> Data:
    if args.image is not None:
        content = _labelled(found, args, _images(found, args, limits), "images", limits)
        return _cut(content, found, seed)
    tokens = _tokens(found, args)
    rows = [row for split in tokens.rows.values() for row in split]
    vocabulary = max(tokens.known, 1 + max((max(row) for row in rows if row), default=0))
    if args.task != "language_modelling":
        padded = _padded(tokens, args.max_length, limits)
        content = _labelled(found, args, padded, "tokens", limits)
        data = _cut(content, found, seed)
        return replace(data, vocabulary=vocabulary, padding=tokens.padding)
    if args.target is None:
        parts = {s: _windows(split, args.context_length) for s, split in tokens.rows.items()}
    else:
        parts = _taught(found, args, tokens, limits)
    whole = args.target is None
    content = Content("tokens", "language_modelling", parts, vocabulary, in_order=whole)
    return replace(_cut(content, found, seed), vocabulary=vocabulary)


def _cut(content: Content, found: Saved, seed: int) -> Data:
    for split, part in content.parts.items():
        least = LEAST_EXAMPLES if split in ("all", "train") else 1
        if len(part) < least:
            told = f"its split {split!r} has {len(part)} examples; at least {least} are needed"
            raise InvalidDatasetError(told)
    parts = cut.cut(content, seed)
    splits = [Split(*map(torch.tensor, (p.inputs, p.targets))) for p in parts.values()]
    notes: tuple[str, ...] = ()
    if found.unused:
        names = ", ".join(found.unused)
        notes = (f"dataset: its splits {names} are not used, only train, validation and test",)
    return Data(content.num_outputs, *splits, notes=notes)


# tokens -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tokens:
    """Rows of tokens per split, the token that pads them, and how many kinds are known of."""

    rows: Mapping[str, Rows]
    padding: int | None = None
    known: int = 0


def _tokens(found: Saved, args: HuggingFaceArgs) -> _Tokens:
    tokenizer = _tokenizer(args)
    known = len(tokenizer) if tokenizer else 0
    padding = _padding(tokenizer) if tokenizer else None
    if args.text is None:
        column = found.column(str(args.inputs))
        rows = {split: _whole_numbers(c, str(args.inputs)) for split, c in column.items()}
        return _Tokens(rows, padding, known)
    modelling = args.task == "language_modelling"
    # joined rows are cut later; what marks the ends of single texts is of no use in them
    options: dict[str, Any] = {"add_special_tokens": not modelling, "verbose": False}
    if not modelling:
        options |= {"truncation": True, "max_length": args.max_length}
    ending = [tokenizer.eos_token_id] if modelling and tokenizer.eos_token_id is not None else []
    rows = {
        split: [
            row + ending
            for texts in _batches(column, args.text)
            for row in tokenizer(texts, **options)["input_ids"]
        ]
        for split, column in found.column(args.text).items()
    }
    return _Tokens(rows, padding, known)


def _tokenizer(args: HuggingFaceArgs) -> Any:
    if args.tokenizer is None:
        return None
    field = "dataset.args.tokenizer"
    auto = transformers.imported(field).AutoTokenizer
    folder = transformers.folder_of(args.tokenizer, field)
    try:
        return auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        told = f"no tokenizer can be read there: {type(error).__name__}: {first_line(error)}"
        raise JobFailedError(f"{field}: {told}") from error


def _padding(tokenizer: Any) -> int | None:
    """The padding token, or what ends a text where there is none."""
    found: int | None = tokenizer.pad_token_id
    return found if found is not None else tokenizer.eos_token_id


def _batches(column: Any, name: str) -> Iterator[list[str]]:
    for start in range(0, len(column), _AT_ONCE):
        texts = column.slice(start, _AT_ONCE).to_pylist()
        for offset, text in enumerate(texts):
            if not isinstance(text, str):
                told = f"row {start + offset} of {name!r} is no text, but {type(text).__name__}"
                raise InvalidDatasetError(told, row=start + offset, column=name)
        yield texts


def _whole_numbers(column: Any, name: str) -> Rows:
    import pyarrow  # noqa: PLC0415 - an extra

    types = pyarrow.types
    kind = column.type
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not lists or not types.is_integer(kind.value_type) or column.null_count:
        told = f"column {name!r} must hold lists of whole numbers, tokens, not {kind}"
        raise InvalidDatasetError(told, column=name)
    rows: Rows = column.to_pylist()
    return rows


def _padded(tokens: _Tokens, max_length: int, limits: Limits) -> dict[str, NDArray[Any]]:
    """Rows cut and padded to one length, the same for all splits."""
    rows = {split: [row[:max_length] for row in part] for split, part in tokens.rows.items()}
    lengths = {len(row) for part in rows.values() for row in part}
    if 0 in lengths:
        raise InvalidDatasetError("some examples have no tokens: leave them out of the dataset")
    if len(lengths) > 1 and tokens.padding is None:
        told = f"examples have {min(lengths)} to {max(lengths)} tokens"
        raise InvalidDatasetError(f"{told}: args.tokenizer must name one with a padding token")
    length, filler = max(lengths, default=1), tokens.padding or 0
    _check_size(sum(map(len, rows.values())) * length * 8, limits)
    return {split: _filled(part, length, filler) for split, part in rows.items()}


def _filled(rows: Rows, length: int, filler: int) -> NDArray[Any]:
    filled = np.full((len(rows), length), filler, np.int64)
    for at, row in enumerate(rows):
        filled[at, : len(row)] = row
    if len(rows) and filled.min() < 0 and filler >= 0:
        raise InvalidDatasetError("tokens are numbers from 0 on")
    return filled


def _windows(rows: Rows, length: int) -> Part:
    """All rows one after another in windows, and for each the tokens that follow."""
    stream = np.fromiter((token for row in rows for token in row), np.int64)
    count = max(0, (len(stream) - 1) // length)
    inputs = stream[: count * length].reshape(count, length)
    targets = stream[1 : count * length + 1].reshape(count, length)
    return Part(inputs, targets)


def _taught(
    found: Saved, args: HuggingFaceArgs, tokens: _Tokens, limits: Limits
) -> dict[str, Part]:
    """Rows with the targets that the dataset gives, each moved to the place before it."""
    name = str(args.target)
    inputs = _padded(replace(tokens, padding=tokens.padding or 0), args.max_length, limits)
    parts = {}
    for split, column in found.column(name).items():
        wanted = _whole_numbers(column, name)
        if list(map(len, wanted)) != list(map(len, tokens.rows[split])):
            raise InvalidDatasetError(f"{name!r} must have as many tokens as {args.inputs!r}")
        length = inputs[split].shape[1]
        rows = [row[1:length] for row in wanted]
        parts[split] = Part(inputs[split], _filled(rows, length, IGNORED))
    return parts


# targets ------------------------------------------------------------------------------------------


def _labelled(
    found: Saved,
    args: HuggingFaceArgs,
    inputs: Mapping[str, NDArray[Any]],
    kind: Any,
    limits: Limits,
) -> Content:
    name = args.target or _USUAL_TARGET
    columns = found.column(name)
    targets = _targets(columns, name, found.classes.get(name), args, limits)
    ends = np.cumsum([len(column) for column in columns.values()])[:-1]
    shares = dict(zip(columns, np.split(targets.values, ends), strict=True))
    parts = {split: Part(values, shares[split]) for split, values in inputs.items()}
    task: Any = targets.task
    return Content(kind, task, parts, targets.num_outputs, targets.classes, name)


def _targets(
    columns: Mapping[str, Any],
    name: str,
    labels: tuple[str, ...] | None,
    args: HuggingFaceArgs,
    limits: Limits,
) -> Targets:
    if any(column.null_count for column in columns.values()):
        raise InvalidDatasetError(f"target {name!r}: some rows have none", target=name)
    values = np.asarray([value for column in columns.values() for value in column.to_pylist()])
    if not len(values):
        raise InvalidDatasetError("it has no examples")
    wanted: Any = args.task
    if labels and wanted == "classification":
        if values.min() < 0 or values.max() >= len(labels):
            told = f"target {name!r}: it has {len(labels)} classes, but {values.min()} among them"
            raise InvalidDatasetError(told, target=name)
        return Targets(values.astype(np.int64), labels, "classification")
    if values.dtype.kind == "U":
        names, codes = np.unique(values, return_inverse=True)
        return encoded_texts(codes, tuple(names.tolist()), name, wanted, limits)
    if values.dtype.kind not in "biuf":
        raise InvalidDatasetError(f"target {name!r}: it holds neither texts nor numbers")
    return encoded(values, name, wanted, limits)


# images -------------------------------------------------------------------------------------------


def _images(found: Saved, args: HuggingFaceArgs, limits: Limits) -> dict[str, NDArray[Any]]:
    """Pixels in 0..1, channels first; grey images have one, others three."""
    name = str(args.image)
    decode = _decoder(name, args.image_size, limits)
    decoded: dict[str, list[NDArray[Any]]] = {}
    size = 0
    for split, column in found.column(name).items():
        decoded[split] = []
        for start in range(0, len(column), _AT_ONCE):
            for offset, cell in enumerate(column.slice(start, _AT_ONCE).to_pylist()):
                pixels = decode(cell, start + offset)
                size += pixels.nbytes * 4
                _check_size(size, limits)
                decoded[split].append(pixels)
    shapes = {image.shape[1:] for images in decoded.values() for image in images}
    if len(shapes) > 1:
        told = f"{len(shapes)} different sizes: give args.image_size"
        raise InvalidDatasetError(f"the images of {name!r} have {told}", column=name)
    colours = {len(image) for images in decoded.values() for image in images}
    depth = max(colours, default=1)
    return {split: _stacked(images, depth) for split, images in decoded.items()}


def _stacked(images: Sequence[NDArray[Any]], depth: int) -> NDArray[Any]:
    full = [np.broadcast_to(image, (depth, *image.shape[1:])) for image in images]
    stacked = np.stack(full) if full else np.empty((0, depth, 1, 1))
    scaled: NDArray[Any] = stacked.astype(np.float32) / np.float32(255)
    return scaled


def _decoder(name: str, side: int | None, limits: Limits) -> Callable[[Any, int], NDArray[Any]]:
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnsupportedError("images need Pillow: pip install 'lrtuner[datasets]'") from None

    def opened(cell: Any) -> Any:
        data = cell.get("bytes") if isinstance(cell, dict) else None
        if not data:
            raise ValueError("it must be an image that was saved with the dataset")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP"))
        if image.width * image.height > limits.pixels:
            raise ValueError(f"{image.width} x {image.height} are more than {limits.pixels} pixels")
        return image

    def decode(cell: Any, row: int) -> NDArray[Any]:
        """An image as uint8, channels first."""
        try:
            image = opened(cell)
            image = image.convert("L" if image.mode in ("1", "L", "I;16", "LA") else "RGB")
            if side is not None:
                image = image.resize((side, side), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, np.uint8)
        except Exception as error:  # noqa: BLE001 - decoders raise anything at damaged images
            told = f"row {row} of {name!r} is no image that can be used: {first_line(error)}"
            raise InvalidDatasetError(told, row=row, column=name) from None
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    return decode


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.array_bytes:
        told = f"it takes {size} bytes in memory; at most {limits.array_bytes} are possible"
        raise InvalidDatasetError(f"{told} (LRTUNER_MAX_DATASET_MB)")
