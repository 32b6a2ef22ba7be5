"""One small job, or several, of every source: what it needs on disk, and what its data must be."""

import hashlib
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtuner.datasets.folder import upload_path, uploads
from lrtuner.sources import DATASETS, MODELS, mismatch
from tests.conformance.dataset_samples import (
    NUM_EXAMPLES,
    SAMPLES,
    cifar_records,
    idx_files,
)
from tests.worker.code.conftest import CODE, PLAIN, STEPPED, project
from tests.worker.test_saved_datasets import dataset as saved
from tests.worker.test_saved_datasets import pictures, save, save_split
from tests.worker.test_vision import Timm, Torchvision
from worker.sources import vision

# arguments that keep what is built in small
SMALL: dict[str, Any] = {
    "mlp": {"hidden": [8]},
    "convnet": {"channels": [4]},
    "gpt": {"width": 8, "num_layers": 1, "num_heads": 2},
    "python_stdlib_text": {"max_chars": 10_000, "context_length": 16},
}


@dataclass(frozen=True)
class Place:
    """Where a job finds its files: below the data root, among the uploads, in its project."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def project(self) -> Path:
        return self.folder / "project"


def nothing(place: Place) -> None:
    """For what needs no files."""


@dataclass(frozen=True)
class Sample:
    """A job of a source.

    `inputs` is the shape of an example, `targets` their kind, `outputs` how many a model must give
    and `sizes` how many examples each split has: all of them together, where the service cuts.
    Data that is `in_order` is the same for every seed. `needs` names a library that only the tests
    of frameworks have.
    """

    model: dict[str, Any]
    dataset: dict[str, Any]
    inputs: tuple[int, ...]
    targets: str
    outputs: int | None
    sizes: int | tuple[int, int, int]
    put: Callable[[Place], Any] = nothing
    in_order: bool = False
    needs: str | None = None


def named(name: str) -> dict[str, Any]:
    return {"name": name, "args": SMALL.get(name, {})}


# what is built in ---------------------------------------------------------------------------------

# shape of an example, outputs, examples
BUILTIN: dict[str, tuple[tuple[int, ...], int, int]] = {
    "digits": ((1, 8, 8), 10, 1797),
    "digit_segments": ((1, 8, 8), 7, 1797),
    "breast_cancer": ((30,), 2, 569),
    "wine": ((13,), 3, 178),
    "diabetes": ((10,), 1, 442),
    "python_stdlib_text": ((16,), 97, 624),
}


def builtin(model: str, dataset: str) -> Sample:
    shape, outputs, count = BUILTIN[dataset]
    kind = DATASETS[dataset].targets
    return Sample(named(model), named(dataset), shape, kind, outputs, count)


FITTING = {
    f"{model} on {dataset}": builtin(model, dataset)
    for model, its in MODELS.items()
    for dataset, data in DATASETS.items()
    if mismatch(its(), data()) is None
}


# files --------------------------------------------------------------------------------------------


def unlike_text() -> bytes:
    """A text in which no stretch comes twice."""
    letters = random.Random(0).choices("abcdefgh \n", k=16 * NUM_EXAMPLES + 1)
    return "".join(letters).encode()


CONTENTS = {**SAMPLES, "text": unlike_text}
SHAPES = {"images": (1, 8, 8), "idx": (1, 6, 5), "cifar": (3, 32, 32), "text": (16,)}


def file(format: str, dataset: dict[str, Any], put: Callable[[Place], Any]) -> Sample:
    inputs = SHAPES.get(format, (4,))
    model = {1: "mlp", 3: "convnet"}[len(inputs)]
    if format != "text":
        return Sample(named(model), dataset, inputs, "classes", 3, NUM_EXAMPLES, put)
    dataset = dataset | {"args": {"context_length": 16}}
    gpt = named("gpt")
    return Sample(gpt, dataset, inputs, "tokens", 10, NUM_EXAMPLES, put, in_order=True)


def uploaded_file(format: str) -> Sample:
    content = CONTENTS[format]()
    dataset_id = "sha256:" + hashlib.sha256(content).hexdigest()

    def put(place: Place) -> None:
        uploads(place.data).mkdir(parents=True)
        upload_path(place.data, dataset_id, format).write_bytes(content)

    return file(format, {"source": "upload", "id": dataset_id}, put)


def file_below_the_root(format: str) -> Sample:
    def put(place: Place) -> None:
        (place.root / "file").write_bytes(CONTENTS[format]())

    return file(format, {"source": "path", "path": "file", "format": format}, put)


def put_idx(place: Place) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 6, 5), dtype=np.uint8)
    put_folder(place, idx_files(pixels[:40], OWN[:40]) | idx_files(pixels[40:], OWN[40:], "t10k"))


def put_cifar(place: Place) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 32, 32), dtype=np.uint8)
    parts = {"data_batch_1": slice(40), "test_batch": slice(40, 50)}
    put_folder(place, {f"{n}.bin": cifar_records(pixels[p], OWN[p]) for n, p in parts.items()})


def put_folder(place: Place, files: dict[str, bytes]) -> None:
    (place.root / "folder").mkdir()
    for name, content in files.items():
        (place.root / "folder" / name).write_bytes(content)


FOLDER = {"source": "path", "path": "folder"}
OWN = np.arange(50) % 3
OWN_TEST = (34, 6, 10)  # 40 examples to train and validate, 10 to test
CONVNET = named("convnet")
FILES = {
    **{f"upload of {format}": uploaded_file(format) for format in CONTENTS},
    **{f"path of {format}": file_below_the_root(format) for format in CONTENTS},
    "folder of idx": Sample(CONVNET, FOLDER, (1, 6, 5), "classes", 3, OWN_TEST, put_idx),
    "folder of cifar": Sample(CONVNET, FOLDER, (3, 32, 32), "classes", 3, OWN_TEST, put_cifar),
}


# datasets that Hugging Face `datasets` saved ------------------------------------------------------


def token_rows(count: int) -> list[list[int]]:
    generator = np.random.default_rng(0)
    rows: list[list[int]] = generator.integers(0, 11, (count, 9)).tolist()
    return rows


def put_images(place: Place) -> None:
    save_split(place.root / "d", pictures(40), {"label": "abc"}, shards=3)


def put_splits(place: Place) -> None:
    rows = pictures(50)
    parts = {"train": slice(40), "test": slice(40, 50)}
    columns = {split: {n: c[part] for n, c in rows.items()} for split, part in parts.items()}
    save(place.root / "d", columns, {"label": "abc"})


def put_tokens(place: Place) -> None:
    labels = [i % 3 for i in range(40)]
    save_split(place.root / "d", {"ids": token_rows(40), "label": labels}, {"label": "abc"})


IMAGES = saved(image="picture")
LANGUAGE = saved(inputs="ids", task="language_modelling", context_length=9)
SAVED = {
    "saved images": Sample(CONVNET, IMAGES, (3, 8, 8), "classes", 3, 40, put_images),
    "saved splits": Sample(CONVNET, IMAGES, (3, 8, 8), "classes", 3, OWN_TEST, put_splits),
    "saved tokens": Sample(
        named("gpt"), LANGUAGE, (9,), "tokens", 11, 39, put_tokens, in_order=True
    ),
}


# code ---------------------------------------------------------------------------------------------


def put_project(source: str) -> Callable[[Place], Any]:
    return lambda place: project(place.project, source)


def install(place: Place) -> None:
    folder = project(place.folder / "site" / "installed_sample", "", __init__="", tasks=PLAIN)
    place.monkeypatch.syspath_prepend(folder.parent)


OWN_DATA = {"source": "code"}
WINE: dict[str, Any] = {"inputs": (13,), "targets": "classes", "outputs": None}
INSTALLED = {"source": "entrypoint", "target": "installed_sample.tasks:build"}
OWN_CODE = {
    "code with tensors": Sample(
        CODE, OWN_DATA, sizes=(124, 27, 27), put=put_project(PLAIN), **WINE
    ),
    "code with a step": Sample(
        CODE, OWN_DATA, sizes=(124, 27, 0), put=put_project(STEPPED), **WINE
    ),
    "entrypoint": Sample(INSTALLED, OWN_DATA, sizes=(124, 27, 27), put=install, **WINE),
}


# models of libraries ------------------------------------------------------------------------------


def stand_in(name: str, library: Callable[[], Any]) -> Callable[[Place], Any]:
    """What of the library is used, by hand: the library itself is not run here."""

    def put(place: Place) -> None:
        place.monkeypatch.setitem(sys.modules, name, library())
        vision._stored.cache_clear()

    return put


def of_vision(name: str, library: Callable[[], Any]) -> Sample:
    model = {"source": name, "name": "resnet18"}
    put = stand_in(name, library)
    return Sample(model, {"name": "digits"}, (1, 8, 8), "classes", 10, 1797, put)


def of_transformers(task: str, config: dict[str, Any], *data: Any, **options: Any) -> Sample:
    """A model of random weights; those of checkpoints: tests/frameworks."""
    model = {"source": "transformers", "task": task, "weights": "random"}
    sample = Sample(model | {"args": {"config": config}}, *data, **options)
    return replace(sample, needs="transformers")


WIDTHS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
WIDTHS |= {"intermediate_size": 16}
GPT2 = {"model_type": "gpt2", "n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 32}
BERT = {"model_type": "bert", **WIDTHS}
VIT = {"model_type": "vit", "patch_size": 4, **WIDTHS}
LIBRARIES = {
    "timm (a stand-in)": of_vision("timm", Timm),
    "torchvision (a stand-in)": of_vision("torchvision", Torchvision),
    "transformers, a language model": of_transformers(
        "causal_lm", GPT2, LANGUAGE, (9,), "tokens", 11, 39, put_tokens, in_order=True
    ),
    "transformers, of tokens": of_transformers(
        "sequence_classification", BERT, saved(inputs="ids"), (9,), "classes", 3, 40, put_tokens
    ),
    "transformers, of images": of_transformers(
        "image_classification", VIT, {"name": "digits"}, (1, 8, 8), "classes", 10, 1797
    ),
}

SOURCES = FITTING | FILES | SAVED | OWN_CODE | LIBRARIES
