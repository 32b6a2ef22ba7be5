"""What each format makes of a sound file that is not the plain one."""

import io
import zipfile

import numpy as np
import pytest

from lrtuner.datasets import Limits, Options, inspect, read
from lrtuner.datasets.cut import cut
from lrtuner.errors import InvalidDatasetError
from tests.conformance.dataset_samples import CODES, SAMPLES, npz_of, png, safetensors_of, zip_of

X = np.arange(160.0).reshape(40, 4)


@pytest.fixture
def read_as(tmp_path):
    def reading(format, data, **options):
        path = tmp_path / "file"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return read(path, format, Options(**options), Limits())

    return reading


def table(*columns, header):
    lines = [header, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    return "\n".join(lines)


# splits -------------------------------------------------------------------------------------------


def test_a_file_with_its_own_splits_keeps_them(read_as):
    arrays = {"train_x": X, "train_y": CODES, "val_x": X[:7], "val_y": CODES[:7]}
    content = read_as("npz", npz_of(**arrays, test_x=X[:5], test_y=CODES[:5]))
    parts = cut(content, 3)
    assert sorted(parts["train"].inputs[:, 0]) == X[:, 0].tolist()
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [40, 7, 5]
    assert np.array_equal(parts["test"].inputs, X[:5].astype(np.float32))


def test_a_split_that_is_missing_is_taken_from_the_training_split(read_as):
    content = read_as("npz", npz_of(x_train=X, y_train=CODES, x_test=X[:5], y_test=CODES[:5]))
    parts = cut(content, 0)
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [34, 6, 5]


def test_text_is_split_in_stretches(read_as):
    text = "".join(chr(97 + i % 26) for i in range(3000))
    content = read_as("text", text, context_length=10)
    parts = cut(content, 5)
    windows = np.concatenate([part.inputs for part in parts.values()])
    assert np.array_equal(windows, content.parts["all"].inputs)
    assert np.array_equal(windows[0, 1:], content.parts["all"].targets[0, :-1])


# targets ------------------------------------------------------------------------------------------


def test_classes_are_numbered_in_the_order_of_their_labels(read_as):
    names = ["pear", "apple"] * 10
    content = read_as("csv", table(range(20), names, header="a,fruit"))
    assert content.classes == ("apple", "pear")
    assert content.parts["all"].targets.tolist() == [1, 0] * 10


def test_whole_numbers_of_few_kinds_are_classes_and_of_many_are_not(read_as):
    few = read_as("csv", table(range(200), [10 + i % 5 for i in range(200)], header="a,y"))
    assert (few.task, few.classes) == ("classification", ("10", "11", "12", "13", "14"))
    many = read_as("csv", table(range(200), range(200), header="a,y"))
    assert (many.task, many.num_outputs) == ("regression", 1)
    assert many.parts["all"].targets.dtype == np.float32
    assert many.parts["all"].targets.shape == (200, 1)
    told = read_as("csv", table(range(200), range(200), header="a,y"), task="classification")
    assert told.num_outputs == 200


def test_fractions_are_no_classes(read_as):
    values = [i / 7 for i in range(20)]
    assert read_as("csv", table(range(20), values, header="a,y")).task == "regression"
    with pytest.raises(InvalidDatasetError, match="fractions"):
        read_as("csv", table(range(20), values, header="a,y"), task="classification")


def test_targets_of_several_numbers(read_as):
    content = read_as("npz", npz_of(x=X, y=X[:, :2]))
    assert (content.task, content.num_outputs) == ("regression", 2)


# columns ------------------------------------------------------------------------------------------


def test_the_target_may_be_any_column(read_as):
    data = table(["a", "b"] * 10, range(20), header="y,x")
    assert read_as("csv", data, target="y").classes == ("a", "b")
    with pytest.raises(InvalidDatasetError, match="no column 'z'"):
        read_as("csv", data, target="z")


def test_texts_become_one_input_per_category(read_as):
    data = table(["u", "v", "w", "u"] * 5, range(20), [0, 1] * 10, header="t,n,y")
    inputs = read_as("csv", data).parts["all"].inputs
    assert inputs[:4, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert inputs[:, 3].tolist() == list(range(20))


def test_columns_that_cannot_be_used_are_told(tmp_path):
    path = tmp_path / "file"
    ids = [f"id{i}" for i in range(1200)]
    path.write_text(table(ids, range(1200), [3] * 1200, [0, 1] * 600, header="id,n,c,y"))
    told = inspect(path, "csv", Options(), Limits())
    assert told.input_shape == [2]
    assert ["'id'" in warning or "'c'" in warning for warning in told.warnings] == [True, True]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators(read_as, separator):
    data = table(range(20), [0, 1] * 10, header="a,y").replace(",", separator)
    assert read_as("csv", data).parts["all"].inputs.shape == (20, 1)


def test_quotes_line_ends_and_the_byte_order_mark_of_spreadsheets(read_as):
    data = '\ufeff"a","y"\r\n' + '"1.5","x, ""y"""\r\n2.5,z\r\n' * 10
    content = read_as("csv", data)
    assert content.classes == ('x, "y"', "z")
    assert content.fields[0].name == "a"


def test_a_large_whole_number_stays_what_it_is(read_as):
    data = table([2**53 + 1] * 20, range(20), header="y,x")
    with pytest.raises(InvalidDatasetError, match="every target is 9007199254740993"):
        read_as("csv", data, target="y")


# arrays and images --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 6, 5), (20, 3, 6, 5), (20, 6, 5, 3)])
def test_images_come_with_channels_first(read_as, shape):
    x = np.full(shape, 255, np.uint8)
    x[::2] = 0
    content = read_as("npz", npz_of(images=x, labels=[0, 1] * 10))
    assert content.kind == "images"
    assert content.parts["all"].inputs.shape == (20, 1 if len(shape) == 3 else 3, 6, 5)
    assert content.parts["all"].inputs.max() == 1.0


def test_order_and_byte_order_of_arrays(read_as):
    x = np.asfortranarray(X).astype(">f8")
    assert np.array_equal(read_as("npz", npz_of(x=x, y=CODES)).parts["all"].inputs, X)


def test_tokens(read_as):
    tokens = np.arange(200).reshape(20, 10) % 7
    content = read_as("safetensors", safetensors_of(x=tokens, y=(tokens + 1) % 7))
    assert (content.kind, content.num_outputs) == ("tokens", 7)


def test_our_safetensors_are_those_of_the_library(read_as):
    library = pytest.importorskip("safetensors.numpy")
    data = library.save({"x": X.astype(np.float32), "y": CODES}, metadata={"by": "test"})
    assert np.array_equal(read_as("safetensors", data).parts["all"].inputs, X)


def test_folders_of_splits_below_one_folder(read_as):
    entries = {
        f"data/{split}/{label}/{i}.{kind.lower()}": png(np.full((9, 7), i, np.uint8), kind)
        for split, count in (("train", 20), ("test", 4))
        for i in range(count)
        for label, kind in (("cat", "PNG"), ("dog", "BMP"))
    }
    content = read_as("images", zip_of({**entries, "__MACOSX/x": b"", "data/.DS_Store": b""}))
    assert {split: len(part) for split, part in content.parts.items()} == {"train": 40, "test": 8}
    assert content.parts["train"].inputs.shape[1:] == (1, 9, 7)


def test_images_of_several_sizes_are_resized_and_told(read_as):
    entries = {
        f"{'ab'[i % 2]}/{i}.png": png(np.full((10 + i, 12, 3), i, np.uint8)) for i in range(12)
    }
    content = read_as("images", zip_of(entries))
    assert content.parts["all"].inputs.shape == (12, 3, 32, 32)
    assert "32 x 32" in content.warnings[0]
    assert read_as("images", zip_of(entries), image_size=16).parts["all"].inputs.shape[2:] == (
        16,
        16,
    )


def test_deflated_entries(read_as):
    out = io.BytesIO()
    np.savez_compressed(out, x=X, y=CODES)
    assert zipfile.ZipFile(out).infolist()[0].compress_type == zipfile.ZIP_DEFLATED
    assert len(read_as("npz", out.getvalue())) == 40


@pytest.mark.parametrize(
    ("format", "options"),
    [("npz", {"target": "y"}), ("text", {"target": "y"}), ("images", {"task": "regression"})],
)
def test_options_that_mean_nothing_are_refused(read_as, format, options):
    with pytest.raises(InvalidDatasetError, match="args"):
        read_as(format, SAMPLES[format](), **options)
