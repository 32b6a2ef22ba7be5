"""A zipped folder of images: class/image.png, or train/class/image.png; read with Pillow."""

import io
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtuner.datasets import archive
from lrtuner.datasets.content import LEAST_EXAMPLES, SPLIT_NAMES, SPLITS, Content, Field, Part
from lrtuner.datasets.limits import Limits
from lrtuner.datasets.options import Options
from lrtuner.datasets.room import Room, room_for
from lrtuner.datasets.targets import encoded_texts
from lrtuner.errors import InvalidDatasetError, UnsupportedError

_FORMATS = ("PNG", "JPEG", "BMP")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_OWN_SIZE, _USUAL_SIZE = 64, 32

Placed = tuple[str, str, zipfile.ZipInfo]
"""The split (`all` where there are none), the class, and the entry of an image."""


def read(path: Path, options: Options, limits: Limits) -> Content:
    """Images by the folder they are in; grey ones with one channel, others with three.

    Raises:
        InvalidDatasetError: see `lrtuner.datasets.read`.
        UnsupportedError: Pillow is not installed.
    """
    if options.target is not None or options.task not in ("auto", "classification"):
        raise InvalidDatasetError("args: the classes of images are the names of their folders")
    image = _pillow()
    with archive.opened(path) as file:
        # packed images hardly shrink further: what unpacks to more than the pixels is no image
        placed = _placed(archive.files(file, limits, total=limits.array_bytes))
        seen = [_survey(image, file, info, limits) for _split, _label, info in placed]
        side, told = _side(seen, options)
        mode = "L" if all(grey for _size, grey in seen) else "RGB"
        depth = 1 if mode == "L" else 3
        total = len(placed) * depth * side[0] * side[1] * 4
        room = room_for(total, f"{len(placed)} images of {side[0]} x {side[1]}", limits)
        pixels = room.empty((len(placed), depth, side[1], side[0]), np.float32)
        for index, (_split, _label, info) in enumerate(placed):
            pixels[index] = _pixels(image, file, info, mode, side)
    return _content(placed, pixels, told, limits, room)


def _content(
    placed: Sequence[Placed], pixels: NDArray[Any], told: str, limits: Limits, room: Room
) -> Content:
    labels = tuple(sorted({label for _split, label, _info in placed}))
    numbers = {label: number for number, label in enumerate(labels)}
    codes = np.array([numbers[label] for _split, label, _info in placed])
    targets = encoded_texts(codes, labels, "folder", "classification", limits)
    splits = [split for split, _label, _info in placed]
    parts = {}
    for split in ("all", *SPLITS):
        if split in splits:  # all of a split stand together
            rows = slice(splits.index(split), splits.index(split) + splits.count(split))
            parts[split] = Part(pixels[rows], targets.values[rows])
    if len(parts.get("all", parts.get("train", ()))) < LEAST_EXAMPLES:
        raise InvalidDatasetError(f"at least {LEAST_EXAMPLES} images are needed to train on")
    fields = Field("images", "uint8", pixels.shape), Field("folder", "text", (), len(labels))
    return Content(
        "images",
        "classification",
        parts,
        targets.num_outputs,
        targets.classes,
        "folder",
        fields,
        (told,) if told else (),
        room=room,
    )


def _placed(infos: Sequence[zipfile.ZipInfo]) -> list[Placed]:
    """Every image with its split and its class, by split and in the order of their names."""
    infos = [info for info in infos if not _is_litter(info.filename)]
    paths = [PurePosixPath(info.filename).parts for info in infos]
    if not paths:
        raise InvalidDatasetError("it holds no image")
    # one folder around everything, as archivers make it
    inner = 1 if min(map(len, paths)) > 2 and len({parts[0] for parts in paths}) == 1 else 0
    placed = []
    for info, parts in sorted(zip(infos, paths, strict=True), key=lambda pair: pair[1]):
        if not info.filename.lower().endswith(_SUFFIXES):
            raise _refused(info, f"it is no image; there may be {', '.join(_SUFFIXES)}")
        folders = parts[inner:-1]
        split = "all"
        if len(folders) == 2 and folders[0] in SPLIT_NAMES:
            split, folders = SPLIT_NAMES[folders[0]], folders[1:]
        if len(folders) != 1:
            raise _refused(info, "it is not in class/image or split/class/image")
        placed.append((split, folders[0], info))
    splits = {split for split, _label, _info in placed}
    if len(splits) > 1 and "all" in splits:
        raise InvalidDatasetError("some images are in the folders of a split, others are not")
    if splits != {"all"} and "train" not in splits:
        raise InvalidDatasetError("there is no folder train")
    return sorted(placed, key=lambda image: image[0])


def _is_litter(name: str) -> bool:
    return name.startswith("__MACOSX/") or PurePosixPath(name).name in (".DS_Store", "Thumbs.db")


def _survey(
    image: Any, file: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits
) -> tuple[tuple[int, int], bool]:
    """An image's width and height, and whether it is grey, without unpacking its pixels."""
    with archive.entry(file, info) as stream:
        opened = _opened(image, stream.read(), info)
    width, height = opened.size
    if not 0 < width * height <= limits.pixels:
        raise _refused(info, f"{width} x {height} pixels; at most {limits.pixels} are possible")
    return (width, height), opened.mode in ("1", "L", "I;16", "LA")


def _side(seen: Sequence[tuple[tuple[int, int], bool]], options: Options) -> tuple[Any, str]:
    """The width and height that all images get, and what to tell about it."""
    sizes = {size for size, _grey in seen}
    if options.image_size is not None:
        return (options.image_size, options.image_size), ""
    if len(sizes) == 1 and max(next(iter(sizes))) <= _OWN_SIZE:
        return next(iter(sizes)), ""
    told = f"images are resized to {_USUAL_SIZE} x {_USUAL_SIZE}; args.image_size gives another"
    return (_USUAL_SIZE, _USUAL_SIZE), told


def _pixels(
    image: Any, file: zipfile.ZipFile, info: zipfile.ZipInfo, mode: str, side: tuple[int, int]
) -> NDArray[Any]:
    """Channels first, values in 0..1."""
    with archive.entry(file, info) as stream:
        opened = _opened(image, stream.read(), info)
    try:
        converted = opened.convert(mode)
        if converted.size != side:
            converted = converted.resize(side, image.Resampling.BILINEAR)
        values = np.asarray(converted, np.float32) / np.float32(255)
    except Exception as error:  # noqa: BLE001 - decoders raise anything at damaged images
        raise _refused(info, f"it cannot be decoded: {error!s:.100}") from None
    return values[None] if mode == "L" else values.transpose(2, 0, 1)


def _opened(image: Any, data: bytes, info: zipfile.ZipInfo) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here
            return image.open(io.BytesIO(data), formats=_FORMATS)
    except Exception as error:  # noqa: BLE001 - see above
        raise _refused(info, f"it is no intact image: {error!s:.100}") from None


def _refused(info: zipfile.ZipInfo, reason: str) -> InvalidDatasetError:
    shown = ascii(info.filename[:100])
    return InvalidDatasetError(f"entry {shown}: {reason}", entry=shown)


def _pillow() -> Any:
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnsupportedError("images need Pillow: pip install 'lrtuner[datasets]'") from None
    return Image
