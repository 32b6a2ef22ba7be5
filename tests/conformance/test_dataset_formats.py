"""The contract of a format: what is sound is read in full, what is not is refused by name."""

import contextlib
import pkgutil
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

from lrtuner import datasets
from lrtuner.datasets import FOLDERS, FORMATS, SUFFIXES, Format, Limits, Options, inspect, read
from lrtuner.datasets.cut import cut
from lrtuner.errors import InvalidDatasetError
from tests.conformance.dataset_samples import NUM_EXAMPLES, SAMPLES
from tests.test_architecture import run_without

SHARED = {
    "archive", "arrays", "columns", "content", "cut", "folder", "inspection", "limits", "members",
    "options", "room", "targets", "__main__",
}  # fmt: skip
LIMITS = Limits()


@pytest.fixture(params=FORMATS)
def format(request):
    return request.param


@pytest.fixture
def file(format, tmp_path):
    path = tmp_path / "sample"
    path.write_bytes(SAMPLES[format]())
    return path


def test_every_module_is_a_registered_format():
    modules = {module.name for module in pkgutil.iter_modules(datasets.__path__)}
    assert set(get_args(Format)) == set(FORMATS)
    assert modules - SHARED == set(FORMATS) == set(SAMPLES)
    assert set(FORMATS) - set(SUFFIXES.values()) == set(FOLDERS)


def test_a_sound_file_is_read_in_full(format, file):
    content = read(file, format, Options(), LIMITS)
    for part in content.parts.values():
        assert len(part.inputs) == len(part.targets)
        assert np.isfinite(part.inputs).all()
        kinds = {"tokens": "int64"}
        assert part.inputs.dtype == kinds.get(content.kind, "float32")
        assert part.targets.dtype == ("float32" if content.task == "regression" else "int64")
        assert 0 <= part.targets.min() <= part.targets.max() < content.num_outputs
    if format != "text":
        assert len(content) == NUM_EXAMPLES
        assert content.num_outputs == len(content.classes) == 3
        assert list(content.classes) == sorted(content.classes)


def test_an_inspection_tells_what_is_read(format, file):
    content = read(file, format, Options(), LIMITS)
    told = inspect(file, format, Options(), LIMITS)
    assert told.num_examples == len(content) == sum(told.splits.values())
    assert told.num_outputs == content.num_outputs
    assert sum(told.class_counts.values()) in (0, len(content))
    assert told.fields
    assert told.model_validate_json(told.model_dump_json()) == told


def test_it_is_read_the_same_every_time_and_split_by_the_seed(format, file):
    first, again = (read(file, format, Options(), LIMITS) for _ in range(2))
    one, same, other = cut(first, 1), cut(again, 1), cut(first, 2)
    for split, part in one.items():
        assert np.array_equal(part.inputs, same[split].inputs)
        assert np.array_equal(part.targets, same[split].targets)
    changed = not np.array_equal(one["train"].inputs, other["train"].inputs)
    assert changed is not first.in_order


def test_no_example_is_in_two_splits(format, file):
    content = read(file, format, Options(), LIMITS)
    rows = [row.tobytes() for part in cut(content, 0).values() for row in part.inputs]
    assert len(rows) == len(content)
    if format != "text":  # a text may repeat itself
        assert len(set(rows)) == len(rows)


def test_what_takes_too_much_memory_is_refused(format, file):
    needed = inspect(file, format, Options(), LIMITS).array_bytes
    with pytest.raises(InvalidDatasetError, match=r"possible|more than"):
        read(file, format, Options(), Limits(array_bytes=needed // 8))


def test_an_empty_file_is_refused(format, tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(InvalidDatasetError, match="empty"):
        read(tmp_path / "empty", format, Options(), LIMITS)


def test_a_truncated_file_is_refused_or_read_as_the_shorter_one(format, file):
    """A text and a csv file cut short may be sound; nothing else may, and nothing may crash."""
    data = file.read_bytes()
    for share in np.linspace(0.02, 0.98, 25):
        file.write_bytes(data[: int(share * len(data))])
        if format in ("text", "csv"):
            with contextlib.suppress(InvalidDatasetError):
                assert len(read(file, format, Options(), LIMITS)) < NUM_EXAMPLES * 3
        else:
            with pytest.raises(InvalidDatasetError):
                read(file, format, Options(), LIMITS)


def test_a_damaged_file_never_raises_anything_else(format, file):
    data = bytearray(file.read_bytes())
    generator = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(data)
        for at in generator.integers(0, len(data), 4):
            broken[at] = generator.integers(0, 256)
        file.write_bytes(bytes(broken))
        with contextlib.suppress(InvalidDatasetError):
            read(file, format, Options(), LIMITS)


@pytest.mark.parametrize("other", SAMPLES)
def test_another_format_is_refused(format, file, other):
    if other == format or format == "text":  # a text may be any text, a csv file among them
        return
    file.write_bytes(SAMPLES[other]())
    with pytest.raises(InvalidDatasetError):
        read(file, format, Options(), LIMITS)


@pytest.mark.parametrize(("name", "library"), [("parquet", "pyarrow"), ("images", "PIL")])
def test_a_format_without_its_library_says_what_to_install(name, library, tmp_path):
    path = tmp_path / "sample"
    path.write_bytes(SAMPLES[name]())
    run_without(
        {library},
        "from pathlib import Path\nfrom lrtuner.datasets import *\n"
        "from lrtuner.errors import UnsupportedError\n"
        f"try:\n    inspect(Path({str(path)!r}), {name!r}, Options(), Limits())\n"
        "except UnsupportedError as error:\n    assert 'lrtuner[datasets]' in str(error)\n"
        "else:\n    raise SystemExit('not refused')",
    )


def test_the_inspecting_process_tells_or_refuses_in_json(tmp_path):
    path = tmp_path / "sample"
    path.write_bytes(SAMPLES["csv"]())
    command = [sys.executable, "-m", "lrtuner.datasets", "csv", str(path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert '"num_examples": 40' in told
    told = subprocess.run(
        [*command, "--target", "none"], check=True, capture_output=True, text=True
    ).stdout
    assert "there is no column 'none'" in told
