"""Uploads and files below the data root: what the worker reads, and what it refuses."""

import hashlib

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lrtuner.datasets.folder import upload_path, uploads
from lrtuner.errors import JobFailedError
from tests.conformance.dataset_samples import SAMPLES, idx_files
from tests.worker.conftest import spec_of, task_of
from worker.sources import DATASETS
from worker.training import train

MODELS = {"images": {"name": "convnet", "args": {"channels": [4]}}}
GPT = {"name": "gpt", "args": {"width": 8, "num_layers": 1, "num_heads": 2}}


@pytest.fixture(params=["upload", "path"])
def place(request, tmp_path, monkeypatch):
    """Puts bytes where a source of that kind finds them; the dataset of a job."""
    monkeypatch.setenv("LRTUNER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(tmp_path / "root"))
    uploads(tmp_path / "data").mkdir(parents=True)
    (tmp_path / "root" / "sub").mkdir(parents=True)

    def put(format, data, **args):
        if request.param == "path":
            (tmp_path / "root" / "sub" / "file").write_bytes(data)
            return {"source": "path", "path": "sub/file", "format": format, "args": args}
        dataset_id = "sha256:" + hashlib.sha256(data).hexdigest()
        upload_path(tmp_path / "data", dataset_id, format).write_bytes(data)
        return {"source": "upload", "id": dataset_id, "args": args}

    return put


def job(dataset, format="csv", **changes):
    models = {"images": MODELS["images"], "text": GPT}
    small = {"batch_size": 8, "steps": 3}
    model = models.get(format, {"name": "mlp", "args": {"hidden": [8]}})
    return {"model": model, "dataset": dataset, "training": small} | changes


def test_features_are_standardised_by_the_training_split(place):
    config = spec_of(**job(place("csv", SAMPLES["csv"]()))).dataset
    data = DATASETS[type(config)](config, 0)
    assert data.train.inputs.dtype == torch.float32
    assert torch.allclose(data.train.inputs.mean(dim=0), torch.zeros(4), atol=1e-6)
    assert torch.allclose(data.train.inputs.std(dim=0), torch.ones(4), atol=1e-5)
    assert not torch.allclose(data.test.inputs.mean(dim=0), torch.zeros(4), atol=1e-3)


def test_regression_targets_are_numbers_as_they_are(place):
    rows = "".join(f"{i},{i * 1000.5}\n" for i in range(20))
    config = spec_of(**job(place("csv", f"a,y\n{rows}".encode()))).dataset
    data = DATASETS[type(config)](config, 0)
    assert data.train.targets.dtype == torch.float32
    assert data.train.targets.shape == (14, 1)
    assert set((data.train.targets / 1000.5).flatten().tolist()) <= set(np.arange(20.0))


@pytest.mark.parametrize("args", [{}, {"task": "regression"}])
def test_targets_that_are_numbers_are_a_regression(place, args):
    rows = "".join(f"{i % 7},{(i % 7) * 0.5}\n" for i in range(40))
    data = f"a,y\n{rows}".encode()
    task = task_of(**job(place("csv", data, **args)), metrics=["r2"])
    run = train(task, [0.05] * 10, seed=0)
    assert task.spec.trained_loss.name == "mse"
    assert run.metrics["val_r2"] <= 1.0


TABLE = "\n".join(["word,x,y", *(f"{'ab'[i % 2]},{i},{i / 7}" for i in range(40))]).encode()


@pytest.mark.parametrize(
    ("format", "args", "changes", "told"),
    [
        ("csv", {"target": "word"}, {"metrics": ["mse"]}, r"metrics\.0: mse needs .* regression"),
        ("csv", {}, {"metrics": ["f1"]}, r"metrics\.0: f1 needs .*, this is regression"),
        ("csv", {}, {"objective": {"metric": "val_accuracy"}}, r"objective\.metric: val_accuracy"),
        ("csv", {}, {"loss": {"name": "cross_entropy"}}, r"loss\.name: .* losses that fit: huber"),
        ("csv", {"target": "word", "task": "regression"}, {}, "regression needs numbers"),
        ("csv", {"task": "language_modelling"}, {}, "language modelling needs a text"),
        ("csv", {"kind": "images"}, {}, r"args\.kind: 'images', but it holds features"),
        ("text", {}, {"metrics": ["f1"]}, "f1 needs .*, this is language modelling"),
        ("npz", {"target": "y"}, {}, "arrays are found by their names"),
    ],
)
def test_what_does_not_fit_the_file_is_told(place, format, args, changes, told):
    data = TABLE if format == "csv" else SAMPLES[format]()
    with pytest.raises((JobFailedError, ValidationError), match=told):
        task_of(**job(place(format, data, **args), format, **changes))


def test_a_text_is_no_regression(place):
    """An upload is judged by the job alone; what a path is, its reader knows."""
    dataset = place("text", SAMPLES["text"](), task="regression")
    told = {
        "upload": "model 'gpt' learns tokens, but the targets of dataset .* are values",
        "path": "args: the target of a text is its next character",
    }
    with pytest.raises((JobFailedError, ValidationError), match=told[dataset["source"]]):
        task_of(**job(dataset, "text"))


def test_a_model_that_does_not_fit_is_told(place):
    with pytest.raises(JobFailedError, match=r"model\.name: model 'gpt' trains on tokens"):
        task_of(**job(place("csv", SAMPLES["csv"]()), model=GPT))


def test_arguments_that_do_not_fit_are_told(place):
    with pytest.raises(JobFailedError, match="no column 'z'"):
        task_of(**job(place("csv", SAMPLES["csv"](), target="z")))


def test_what_is_larger_than_the_memory_for_it_is_told(place, monkeypatch):
    monkeypatch.setenv("LRTUNER_MAX_DATASET_MB", "1")
    data = SAMPLES["text"]() * 40
    with pytest.raises(JobFailedError, match="at most 1048576 are possible"):
        task_of(**job(place("text", data), "text"))


def test_an_upload_that_is_not_there_or_has_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("LRTUNER_DATA_DIR", str(tmp_path))
    missing = {"source": "upload", "id": "sha256:" + "0" * 64}
    with pytest.raises(JobFailedError, match="LRTUNER_DATA_DIR"):
        task_of(**job(missing))
    uploads(tmp_path).mkdir()
    upload_path(tmp_path, missing["id"], "csv").write_bytes(SAMPLES["csv"]())
    with pytest.raises(JobFailedError, match="changed on disk"):
        task_of(**job(missing))


def test_paths_are_off_unless_there_is_a_root(monkeypatch):
    monkeypatch.delenv("LRTUNER_DATA_ROOT", raising=False)
    with pytest.raises(JobFailedError, match="LRTUNER_DATA_ROOT"):
        task_of(**job({"source": "path", "path": "a.csv"}))


@pytest.mark.parametrize(
    "path", ["../a.csv", "/etc/passwd", "a/../../b.csv", "a\\b.csv", "", "a\0"]
)
def test_paths_that_lead_out_are_refused(path):
    with pytest.raises(ValidationError):
        spec_of(**job({"source": "path", "path": path, "format": "csv"}))


def test_links_that_lead_out_are_refused(tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(root))
    (tmp_path / "secret.csv").write_bytes(SAMPLES["csv"]())
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "folder").symlink_to(tmp_path)
    for path in ("link.csv", "folder/secret.csv"):
        with pytest.raises(JobFailedError, match="out of the data root"):
            task_of(**job({"source": "path", "path": path}))
    with pytest.raises(JobFailedError, match="no file"):
        task_of(**job({"source": "path", "path": "none.csv"}))


def test_the_ending_tells_the_format_of_a_path():
    assert spec_of(**job({"source": "path", "path": "a/b.CSV"})).dataset.kind == "csv"
    with pytest.raises(ValidationError, match=r"dataset\.format"):
        spec_of(**job({"source": "path", "path": "a/b.dat"}))


def test_a_folder_below_the_root_is_recognised_by_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(tmp_path))
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 6, 6), dtype=np.uint8)
    labels = np.arange(50) % 5
    files = idx_files(pixels[:40], labels[:40]) | idx_files(pixels[40:], labels[40:], "t10k")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    task = task_of(**job({"source": "path", "path": "MNIST/raw"}, "images"))
    assert [len(split) for split in (task.data.train, task.data.test)] == [34, 10]
    assert task.spec.dataset.args.kind == "images"
    with pytest.raises(JobFailedError, match="'MNIST' has no ending that tells a format"):
        task_of(**job({"source": "path", "path": "MNIST"}, "images"))
