"""Data that is too large for memory: the same runs, from files without a name."""

import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import torch

from lrtuner.datasets import Limits, Options, cut, read
from lrtuner.datasets.room import Room, chunks
from lrtuner.errors import InvalidDatasetError
from tests.conformance.dataset_samples import SAMPLES, npz_of
from tests.worker.conftest import ListJournal, pipeline_of, spec_of, task_of
from tests.worker.test_files import job, place  # noqa: F401 - a fixture
from worker.handover import Handover, mapped, read_outside
from worker.task import Task, named_data
from worker.training import train

MEBIBYTE = 1024 * 1024
FORMATS = list(SAMPLES)


@pytest.fixture
def streaming(monkeypatch, tmp_path):
    """Whatever is read from now on is streamed."""

    def turn_on():
        limits = Limits(preload_bytes=0, scratch=tmp_path / "scratch")
        monkeypatch.setattr("worker.settings.Settings.dataset_limits", limits)

    return turn_on


def trained(dataset, format):
    task = task_of(**job(dataset, format))
    return task, train(task, [0.05] * 3, seed=0)


@pytest.mark.parametrize("format", FORMATS)
def test_streamed_data_gives_the_same_runs_byte_for_byte(place, format, streaming):  # noqa: F811
    dataset = place(format, SAMPLES[format]())
    preloaded, run = trained(dataset, format)
    streaming()
    streamed, again = trained(dataset, format)
    assert (preloaded.data.streamed, streamed.data.streamed) == (False, True)
    assert streamed.data.digest() == preloaded.data.digest()
    assert again.curve == run.curve
    assert again.metrics == run.metrics


@pytest.mark.parametrize("format", FORMATS)
def test_all_inputs_of_streamed_content_lie_in_files(tmp_path, format):
    path = tmp_path / "file"
    path.write_bytes(SAMPLES[format]())
    scratch = tmp_path / "scratch"
    content = read(path, format, Options(), Limits(preload_bytes=0, scratch=scratch))
    for part in cut.cut(content, 0).values():
        base = part.inputs
        while isinstance(base, np.ndarray):
            base = base.base
        assert type(base.obj).__name__ == "mmap"
    assert list(scratch.iterdir()) == []  # they have no name


def test_chunks_are_the_same_wherever_the_array_lies(tmp_path):
    shape = (3_000, 1_000)
    one, other = (room.empty(shape, np.float32) for room in (Room(), Room(tmp_path)))
    assert list(chunks(one)) == list(chunks(other))
    assert len(list(chunks(one))) == 3


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1024 * MEBIBYTE + 10})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    Room(tmp_path).empty((10,), np.uint8)
    with pytest.raises(InvalidDatasetError, match=r"no room for 11 bytes.*LRTUNER_PRELOAD_MB"):
        Room(tmp_path).empty((11,), np.uint8)


def test_the_job_tells_that_its_data_is_streamed(place, streaming):  # noqa: F811
    short = {"search": {"mode": "range_test", "budget": {"full_runs": 1}}}
    short["range_test"] = {"num_steps": 20, "num_seeds": 1, "probes": []}
    spec = spec_of(**job(place("csv", SAMPLES["csv"]()), training={"batch_size": 8, "steps": 40}))
    streaming()
    journal = ListJournal()
    pipeline_of(spec.model_validate(spec.model_dump() | short), journal).run()
    assert ("warning", "dataset: 0 MiB, streamed from disk") in journal.events


def test_batches_of_streamed_data_are_moved_to_the_device(place, streaming):  # noqa: F811
    streaming()
    task = task_of(**job(place("csv", SAMPLES["csv"]())))
    assert task.data.to(torch.device("meta")) is task.data
    moved = Task(task.spec, task.data, task.build_model, torch.device("meta"), 3)
    for batch in (next(moved.batches(0, 1)), moved.held_out(0, 4)):
        assert {tensor.device.type for tensor in batch} == {"meta"}


@pytest.mark.parametrize("format", ["csv", "text"])
@pytest.mark.parametrize("streams", [False, True])
def test_what_is_handed_over_is_the_same_data(place, format, streams, streaming):  # noqa: F811
    spec = spec_of(**job(place(format, SAMPLES[format]()), format))
    if streams:
        streaming()
    data = named_data(spec)
    with read_outside(spec) as handed:
        told = Handover.model_validate(handed.model_dump())  # as it passes the pipe
        found, again = mapped(told), mapped(told)
        assert found.digest() == data.digest()
        assert (found.num_outputs, found.found) == (data.num_outputs, data.found)
        if not streams:
            found.train.inputs.zero_()  # the code's own business
        assert again.digest() == data.digest()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(handed.file, b"x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handed.file)


def test_what_is_built_in_is_not_handed_over():
    with read_outside(spec_of()) as handed:
        assert handed is None


MEASURE = """
import re, sys
from pathlib import Path
from lrtuner.datasets import Limits, Options, read
from lrtuner.datasets.inspection import inspected
from lrtuner.datasets.cut import cut
import torch
from worker.data import Data, Split
from worker.sources.files import _standardise

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

path, format, scratch, preload = sys.argv[1:]
read(Path(path + ".small"), format, Options(), Limits())  # what libraries take once
_standardise({"train": cut(read(Path(path + ".small"), format, Options(), Limits()), 0)["train"]})
before = anonymous()
limits = Limits(scratch=Path(scratch), preload_bytes=int(preload))
content = read(Path(path), format, Options(), limits)
found, parts = inspected(format, content), cut(content, 0)
if content.kind == "features":
    _standardise(parts)
tensors = (Split(torch.from_numpy(p.inputs), torch.from_numpy(p.targets)) for p in parts.values())
Data(content.num_outputs, *tensors, found=found).digest()
print(found.array_bytes, anonymous() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.slow
def test_streamed_data_takes_less_memory_than_its_arrays(tmp_path):
    generator = np.random.default_rng(0)
    for name, count in (("data", 16_000), ("data.small", 40)):
        x = generator.normal(size=(count, 1000)).astype(np.float32)
        (tmp_path / name).write_bytes(npz_of(x=x, y=np.arange(count) % 3))
    grown = {}
    for preload in (1024 * MEBIBYTE, MEBIBYTE):
        arguments = [str(tmp_path / "data"), "npz", tempfile.gettempdir(), str(preload)]
        command = [sys.executable, "-c", MEASURE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        size, grown[preload] = map(int, done.stdout.split())
    assert size > 60 * MEBIBYTE
    assert grown[1024 * MEBIBYTE] > size  # the measure measures
    assert grown[MEBIBYTE] < size / 4
