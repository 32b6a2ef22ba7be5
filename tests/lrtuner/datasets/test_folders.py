"""MNIST and CIFAR as they are distributed: folders of files, each in its published layout."""

import gzip
import pickle

import numpy as np
import pytest

from lrtuner.datasets import Limits, Options, folder_format, read
from lrtuner.errors import InvalidDatasetError
from tests.conformance.dataset_samples import cifar_records, idx_files, zip_of

PIXELS = np.random.default_rng(1).integers(0, 256, (30, 4, 5), dtype=np.uint8)
LABELS = np.arange(30) % 3
COLOURS = np.random.default_rng(2).integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    def made(files):
        path = tmp_path / "folder"
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)
        return path

    return made


def mnist(prefix=""):
    files = idx_files(PIXELS[:20], LABELS[:20]) | idx_files(PIXELS[20:], LABELS[20:], "t10k")
    return {prefix + name: data for name, data in files.items()}


def content_of(path):
    return read(path, folder_format(path), Options(), Limits())


@pytest.mark.parametrize("prefix", ["", "emnist-letters-"])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_with_its_own_test_split(folder, packed, prefix):
    files = mnist(prefix)
    if packed:
        files = {f"{name}.gz": gzip.compress(data) for name, data in files.items()}
    content = content_of(folder(files))
    assert (content.kind, content.task, content.num_outputs) == ("images", "classification", 3)
    assert {split: len(part) for split, part in content.parts.items()} == {"train": 20, "test": 10}
    test = content.parts["test"]
    assert np.array_equal(test.inputs, PIXELS[20:, None] / np.float32(255))
    assert test.targets.tolist() == LABELS[20:].tolist()


def test_of_a_file_and_its_packed_twin_the_plain_one_is_read(folder):
    """torchvision leaves both."""
    packed = {f"{name}.gz": b"damaged" for name in mnist()}
    assert len(content_of(folder({**mnist(), **packed, "notes.txt": b""}))) == 30


def test_cifar_10_with_its_own_test_split(folder):
    batches = {
        f"data_batch_{i + 1}.bin": cifar_records(COLOURS[4 * i :][:4], LABELS[4 * i :][:4])
        for i in range(5)
    }
    batches["test_batch.bin"] = cifar_records(COLOURS[20:], LABELS[20:])
    content = content_of(folder({**batches, "batches.meta.txt": b"airplane\n"}))
    train, test = content.parts["train"], content.parts["test"]
    assert np.array_equal(train.inputs, COLOURS[:20] / np.float32(255))
    assert train.targets.tolist() == LABELS[:20].tolist()
    assert np.array_equal(test.inputs, COLOURS[20:] / np.float32(255))


def test_the_classes_of_cifar_100_are_the_fine_ones(folder):
    coarse = np.zeros(30, int)
    files = {"train.bin": cifar_records(COLOURS, coarse, LABELS)}
    content = content_of(
        folder(files | {"test.bin": cifar_records(COLOURS[:6], [0] * 6, LABELS[:6])})
    )
    assert content.classes == ("0", "1", "2")
    assert content.parts["train"].targets.tolist() == LABELS.tolist()


def test_the_pickled_version_is_refused_with_the_reason(folder):
    for name in ("data_batch_1", "batches.meta"):
        data = pickle.dumps({"data": np.zeros(3)})
        path = folder({name: data})
        with pytest.raises(InvalidDatasetError, match=r"pickle may run any code.*binary version"):
            content_of(path)
        (path / name).unlink()
        path.rmdir()


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("train-images-idx3-ubyte", b"\x00\x00\x0d\x03" + b"\x00" * 12, "must begin with 0, 0, 8"),
        ("train-images-idx3-ubyte", b"\x00\x00\x08\x03\x00\x00", "cut short"),
        ("train-images-idx3-ubyte", mnist()["train-images-idx3-ubyte"][:-1], "as many bytes"),
        ("train-images-idx3-ubyte", mnist()["train-images-idx3-ubyte"] + b"x", "as many bytes"),
        ("train-images-idx3-ubyte", b"\x00\x00\x08\x03" + b"\xff" * 12, "at most"),
        ("train-labels-idx1-ubyte", mnist()["t10k-labels-idx1-ubyte"], "20 examples and .* has 10"),
        ("fashion-train-labels-idx1-ubyte", b"", "several sets"),
        ("train-images-idx3-ubyte", None, "no images beside|no inputs beside"),
    ],
)
def test_what_is_wrong_with_mnist_is_told(folder, name, data, told):
    files = {**mnist(), name: data}
    with pytest.raises(InvalidDatasetError, match=told):
        content_of(folder({name: data for name, data in files.items() if data is not None}))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"data_batch_1.bin": b"x" * 3072}, "no whole number of records of 3073"),
        ({"train.bin": b"", "test.bin": b""}, "no whole number of records of 3074"),
        ({"train.bin": b"", "data_batch_1.bin": b""}, "CIFAR-10 and of CIFAR-100"),
        ({"a.csv": b""}, "in none of these formats: idx, cifar"),
        ({"train-images-idx3-ubyte.gz": b"\x1f\x8bnothing"}, "is damaged"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(folder, files, told):
    with pytest.raises(InvalidDatasetError, match=told):
        content_of(folder(files))


def test_a_packed_file_that_unpacks_without_end_is_not_unpacked(folder):
    files = mnist() | {"train-labels-idx1-ubyte": b""}
    bomb = mnist()["train-labels-idx1-ubyte"] + bytes(50_000_000)
    del files["train-labels-idx1-ubyte"]
    path = folder({**files, "train-labels-idx1-ubyte.gz": gzip.compress(bomb, 1)})
    with pytest.raises(InvalidDatasetError, match="as many bytes"):
        content_of(path)


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    files = mnist()
    (tmp_path / "secret").write_bytes(files.pop("train-labels-idx1-ubyte"))
    path = folder(files)
    (path / "train-labels-idx1-ubyte").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidDatasetError, match="beside it"):
        content_of(path)


def test_a_folder_is_no_file_of_another_format(folder):
    with pytest.raises(InvalidDatasetError, match="it is a folder"):
        read(folder(mnist()), "csv", Options(), Limits())


def test_two_files_of_the_same_name_in_a_zip_file_are_refused(tmp_path):
    name = "train-images-idx3-ubyte"
    (tmp_path / "file").write_bytes(zip_of({f"a/{name}": b"", f"b/{name}": b""}))
    with pytest.raises(InvalidDatasetError, match="twice"):
        read(tmp_path / "file", "idx", Options(), Limits())
