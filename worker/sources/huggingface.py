"""Datasets that Hugging Face `datasets` saved to disk: texts, tokens and images."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lrtuner.datasets import cut
from lrtuner.datasets.content import LEAST_EXAMPLES, Content, Part
from lrtuner.datasets.inspection import inspected
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.room import Room, room_for
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
_TOKEN_BYTES = 8
_PIXEL_BYTES = 4
_USUAL_TARGET = "label"
_GREY = ("1", "L", "I;16", "LA")


def build(config: HuggingFace, seed: int) -> Data:
    """The dataset's own splits; those that it lacks are cut by the seed.

    Raises:
        JobFailedError: it is not there, or does not fit the job's arguments.
    """
    folder = below_root(config.path, "dataset.path")
    try:
        found = saved.read(folder)
        return _data(found, config.args, seed, Settings().dataset_limits)
    except (InvalidDatasetError, UnsupportedError) as error:
        raise JobFailedError(f"dataset: {error}") from None


def _data(found: Saved, args: HuggingFaceArgs, seed: int, limits: Limits) -> Data:
    if args.image is not None:
        return _cut(_labelled(found, args, *_images(found, args, limits), limits), found, seed)
    tokens = _tokens(found, args, limits)
    if args.task != "language_modelling":
        content = _labelled(found, args, *_padded(tokens, args.max_length, limits), limits)
        data = _cut(content, found, seed)
        return replace(data, vocabulary=tokens.vocabulary, padding=tokens.padding)
    if args.target is None:
        content = _windows(tokens, args.context_length, limits)
    else:
        content = _taught(found, args, tokens, limits)
    return replace(_cut(content, found, seed), vocabulary=tokens.vocabulary)


def _cut(content: Content, found: Saved, seed: int) -> Data:
    for split, part in content.parts.items():
        least = LEAST_EXAMPLES if split in ("all", "train") else 1
        if len(part) < least:
            told = f"its split {split!r} has {len(part)} examples; at least {least} are needed"
            raise InvalidDatasetError(told)
    unused = tuple[str, ...]()
    if found.unused:
        names = ", ".join(found.unused)
        unused = (f"its splits {names} are not used, only train, validation and test",)
    content = replace(content, fields=found.fields, warnings=unused)
    parts = cut.cut(content, seed)
    splits = [Split(*map(torch.from_numpy, (p.inputs, p.targets))) for p in parts.values()]
    notes = tuple(f"dataset: {warning}" for warning in unused)
    seen = inspected("huggingface", content)
    return Data(content.num_outputs, *splits, notes=notes, found=seen)


# tokens -------------------------------------------------------------------------------------------

Piece = tuple[NDArray[Any], NDArray[Any]]
"""Some rows: their int64 tokens one after another, and how many of them each row has."""


@dataclass(frozen=True)
class _Rows:
    """Rows of tokens, in pieces.

    Attributes:
        pieces: gives them from the first row on, each time that it is called.
        lengths: of all rows.
        least: the smallest token, 0 where there is none.
        most: the largest.
    """

    pieces: Callable[[], Iterator[Piece]]
    lengths: NDArray[Any]
    least: int
    most: int


@dataclass(frozen=True)
class _Tokens:
    """Rows per split, the token that pads them, and how many kinds there are."""

    rows: Mapping[str, _Rows]
    padding: int | None
    vocabulary: int


def _tokens(found: Saved, args: HuggingFaceArgs, limits: Limits) -> _Tokens:
    tokenizer = _tokenizer(args)
    if args.text is None:
        rows = _numbers(found, str(args.inputs))
    else:
        rows = _surveyed(_tokenized(found, args.text, args, tokenizer), limits.preload_bytes)
    if min(part.least for part in rows.values()) < 0:
        raise InvalidDatasetError("tokens are numbers from 0 on")
    known = len(tokenizer) if tokenizer else 0
    vocabulary = max(known, *(1 + part.most for part in rows.values()))
    return _Tokens(rows, _padding(tokenizer) if tokenizer else None, vocabulary)


def _surveyed(
    splits: Mapping[str, Callable[[], Iterator[Piece]]], spare: int = 0
) -> dict[str, _Rows]:
    """What has to be known before there are arrays.

    Pieces are kept where all of them take at most `spare` bytes, and otherwise made anew.
    """
    rows = {}
    for split, pieces in splits.items():
        kept, lengths, least, most = list[Piece](), [np.empty(0, np.int64)], 0, 0
        for tokens, counts in pieces():
            lengths.append(counts)
            least = min(least, int(tokens.min(initial=0)))
            most = max(most, int(tokens.max(initial=0)))
            spare -= tokens.nbytes
            if spare >= 0:
                kept.append((tokens, counts))
        again = kept.__iter__ if spare >= 0 else pieces
        rows[split] = _Rows(again, np.concatenate(lengths), least, most)
    return rows


def _tokenized(
    found: Saved, name: str, args: HuggingFaceArgs, tokenizer: Any
) -> dict[str, Callable[[], Iterator[Piece]]]:
    modelling = args.task == "language_modelling"
    # joined rows are cut later; what marks the ends of single texts is of no use in them
    options: dict[str, Any] = {"add_special_tokens": not modelling, "verbose": False}
    if not modelling:
        options |= {"truncation": True, "max_length": args.max_length}
    ending = [tokenizer.eos_token_id] if modelling and tokenizer.eos_token_id is not None else []

    def pieces(column: Any) -> Iterator[Piece]:
        for texts in _batches(column, name):
            rows = [row + ending for row in tokenizer(texts, **options)["input_ids"]]
            every = (token for row in rows for token in row)
            yield np.fromiter(every, np.int64), np.array([len(row) for row in rows])

    return {split: partial(pieces, column) for split, column in found.column(name).items()}


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


def _numbers(found: Saved, name: str) -> dict[str, _Rows]:
    """The rows of a column that holds tokens."""
    columns = found.column(name)
    for column in columns.values():
        if not saved.holds_lists(column.type, whole=True) or column.null_count:
            told = f"column {name!r} must hold lists of whole numbers, tokens, not {column.type}"
            raise InvalidDatasetError(told, column=name)
    return _surveyed({s: partial(saved.pieces, c, name, _AT_ONCE) for s, c in columns.items()})


def _padded(
    tokens: _Tokens, max_length: int, limits: Limits, arrays: int = 1
) -> tuple[dict[str, NDArray[Any]], Room]:
    """Rows cut and padded to one length, the same for all splits, and where so many arrays lie."""
    every = np.concatenate([rows.lengths for rows in tokens.rows.values()])
    every = np.minimum(every, max_length)
    least, length = int(every.min(initial=max_length)), int(every.max(initial=1))
    if not least:
        raise InvalidDatasetError("some examples have no tokens: leave them out of the dataset")
    if least < length and tokens.padding is None:
        told = f"examples have {least} to {length} tokens"
        raise InvalidDatasetError(f"{told}: args.tokenizer must name one with a padding token")
    told = f"{len(every)} rows of {length} tokens"
    room = room_for(arrays * len(every) * length * _TOKEN_BYTES, told, limits)
    filler = tokens.padding or 0
    return {s: _laid(rows, length, filler, room) for s, rows in tokens.rows.items()}, room


def _laid(rows: _Rows, length: int, filler: int, room: Room, skipped: int = 0) -> NDArray[Any]:
    """Rows cut at a length, without the tokens skipped at their start, and filled up to it."""
    made, at = room.empty((len(rows.lengths), length), np.int64), 0
    for tokens, counts in rows.pieces():
        for end, count in zip(np.cumsum(counts), counts, strict=True):
            taken = tokens[end - count : end][skipped:length]
            made[at, : len(taken)] = taken
            made[at, len(taken) :] = filler
            at += 1
    return made


def _windows(tokens: _Tokens, length: int, limits: Limits) -> Content:
    """All rows one after another in windows, and for each the tokens that follow."""
    sizes = {split: int(rows.lengths.sum()) for split, rows in tokens.rows.items()}
    total = sum(sizes.values())
    room = room_for(2 * total * _TOKEN_BYTES, f"{total} tokens with those that follow", limits)
    parts = {}
    for split, rows in tokens.rows.items():
        stream, at = room.empty((sizes[split],), np.int64), 0
        for piece, _counts in rows.pieces():
            stream[at : at + len(piece)] = piece
            at += len(piece)
        count = max(0, (len(stream) - 1) // length)
        inputs = stream[: count * length].reshape(count, length)
        targets = stream[1 : count * length + 1].reshape(count, length)
        parts[split] = Part(inputs, targets)
    return Content(
        "tokens", "language_modelling", parts, tokens.vocabulary, in_order=True, room=room
    )


def _taught(found: Saved, args: HuggingFaceArgs, tokens: _Tokens, limits: Limits) -> Content:
    """Rows with the targets that the dataset gives, each moved to the place before it."""
    name = str(args.target)
    wanted = _numbers(found, name)
    for split, rows in wanted.items():
        if not np.array_equal(rows.lengths, tokens.rows[split].lengths):
            raise InvalidDatasetError(f"{name!r} must have as many tokens as {args.inputs!r}")
    padded = replace(tokens, padding=tokens.padding or 0)
    inputs, room = _padded(padded, args.max_length, limits, arrays=2)
    outputs = max(tokens.vocabulary, *(1 + rows.most for rows in wanted.values()))
    parts = {}
    for split, values in inputs.items():
        targets = _laid(wanted[split], values.shape[1], IGNORED, room, skipped=1)
        parts[split] = Part(values, targets)
    return Content("tokens", "language_modelling", parts, outputs, target=name, room=room)


# targets ------------------------------------------------------------------------------------------


def _labelled(
    found: Saved,
    args: HuggingFaceArgs,
    inputs: Mapping[str, NDArray[Any]],
    room: Room,
    limits: Limits,
) -> Content:
    name = args.target or _USUAL_TARGET
    columns = found.column(name)
    targets = _targets(columns, name, found.classes.get(name), args, limits)
    ends = np.cumsum([len(column) for column in columns.values()])[:-1]
    shares = dict(zip(columns, np.split(targets.values, ends), strict=True))
    parts = {split: Part(values, shares[split]) for split, values in inputs.items()}
    kind: Any = "tokens" if args.image is None else "images"
    return Content(kind, targets.task, parts, targets.num_outputs, targets.classes, name, room=room)


def _targets(
    columns: Mapping[str, Any],
    name: str,
    labels: tuple[str, ...] | None,
    args: HuggingFaceArgs,
    limits: Limits,
) -> Targets:
    if any(column.null_count for column in columns.values()):
        raise InvalidDatasetError(f"target {name!r}: some rows have none", target=name)
    if not sum(map(len, columns.values())):
        raise InvalidDatasetError("it has no examples")
    size = sum(column.nbytes for column in columns.values())
    if size > limits.preload_bytes:
        told = f"target {name!r}: it takes {size} bytes; targets lie in memory, where at most"
        told += f" {limits.preload_bytes} are possible (LRTUNER_PRELOAD_MB)"
        raise InvalidDatasetError(told, target=name)
    wanted: Any = args.task
    texts = saved.texts(list(columns.values()))
    if texts is not None:
        return encoded_texts(*texts, name, wanted, limits)
    values = saved.numbers(list(columns.values()))
    if values is None:
        raise InvalidDatasetError(f"target {name!r}: it holds neither texts nor numbers")
    if labels and wanted == "classification":
        if values.min() < 0 or values.max() >= len(labels):
            told = f"target {name!r}: it has {len(labels)} classes, but {values.min()} among them"
            raise InvalidDatasetError(told, target=name)
        return Targets(values.astype(np.int64), labels, "classification")
    return encoded(values, name, wanted, limits)


# images -------------------------------------------------------------------------------------------


def _images(
    found: Saved, args: HuggingFaceArgs, limits: Limits
) -> tuple[dict[str, NDArray[Any]], Room]:
    """Pixels in 0..1, channels first, and where they lie; grey images have one channel, others 3.

    Every image is opened twice: first for its size, then for its pixels.
    """
    name = str(args.image)
    columns = found.column(name)
    opened = _opener(name, limits)
    sizes, depth, count = set[tuple[int, int]](), 1, 0
    for column in columns.values():
        for row, cell in enumerate(column):
            image = opened(cell.as_py(), row)
            sizes.add(image.size)
            depth = max(depth, 1 if image.mode in _GREY else 3)
            count += 1
    side = args.image_size
    if side is None and len(sizes) > 1:
        told = f"{len(sizes)} different sizes: give args.image_size"
        raise InvalidDatasetError(f"the images of {name!r} have {told}", column=name)
    width, height = (side, side) if side else next(iter(sizes), (1, 1))
    told = f"{count} images of {width} x {height}"
    room = room_for(count * depth * height * width * _PIXEL_BYTES, told, limits)
    made = {}
    for split, column in columns.items():
        made[split] = room.empty((len(column), depth, height, width), np.float32)
        for row, cell in enumerate(column):
            made[split][row] = _pixels(opened(cell.as_py(), row), (width, height), name, row)
    return made, room


def _opener(name: str, limits: Limits) -> Callable[[Any, int], Any]:
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnsupportedError("images need Pillow: pip install 'lrtuner[datasets]'") from None

    def opened(cell: Any, row: int) -> Any:
        """The image of a cell, whose pixels are not decoded yet."""
        data = cell.get("bytes") if isinstance(cell, dict) else None
        if not data:
            raise _no_image(name, row, "it must be an image that was saved with the dataset")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of sizes, which are checked here
                image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP"))
        except Exception as error:  # noqa: BLE001 - decoders raise anything at damaged images
            raise _no_image(name, row, first_line(error)) from None
        if image.width * image.height > limits.pixels:
            told = f"{image.width} x {image.height} are more than {limits.pixels} pixels"
            raise _no_image(name, row, told)
        return image

    return opened


def _pixels(image: Any, size: tuple[int, int], name: str, row: int) -> NDArray[Any]:
    from PIL import Image  # noqa: PLC0415 - an extra

    try:
        image = image.convert("L" if image.mode in _GREY else "RGB")
        if image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.float32) / np.float32(255)
    except Exception as error:  # noqa: BLE001 - see above
        raise _no_image(name, row, first_line(error)) from None
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _no_image(name: str, row: int, told: str) -> InvalidDatasetError:
    told = f"row {row} of {name!r} is no image that can be used: {told}"
    return InvalidDatasetError(told, row=row, column=name)
