"""Datasets as `save_to_disk` of Hugging Face datasets leaves them, written here by hand.

That this is how the library writes them is checked where it is installed: tests/frameworks.
"""

import io
import json
import sys
import tracemalloc

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from lrtuner.datasets import Limits
from lrtuner.errors import JobFailedError
from lrtuner.sources import HuggingFace
from tests.worker.conftest import CPU, spec_of, task_of
from worker import trainer
from worker.device import prepare
from worker.handover import Handover, mapped, read_outside
from worker.rules import Rules
from worker.sandboxed import trained_in
from worker.sources import DATASETS, huggingface
from worker.task import make_task, named_data

GPT = {"name": "gpt", "args": {"width": 8, "num_layers": 1, "num_heads": 2}}
CONVNET = {"name": "convnet", "args": {"channels": [4]}}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def save_split(folder, columns, classes=None, shards=1):
    folder.mkdir(parents=True)
    table = pyarrow.table(columns)
    names = [f"data-{i:05d}-of-{shards:05d}.arrow" for i in range(shards)]
    size = -(-len(table) // shards)
    for index, name in enumerate(names):
        part = table.slice(index * size, size)
        with pyarrow.ipc.new_stream(str(folder / name), part.schema) as writer:
            writer.write_table(part)
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    features = {n: {"names": list(c), "_type": "ClassLabel"} for n, c in (classes or {}).items()}
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def save(folder, splits, classes=None, **options):
    for split, columns in splits.items():
        save_split(folder / split, columns, classes, **options)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))


def png(colour, size=(8, 8), mode="RGB"):
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return {"bytes": out.getvalue(), "path": None}


def pictures(count, **options):
    colours = [(i * 5 % 256, i * 7 % 256, i * 11 % 256) for i in range(count)]
    return {"picture": [png(c, **options) for c in colours], "label": [i % 3 for i in range(count)]}


def tokens(count, length=9):
    return [[(i * 3 + j) % 11 for j in range(length)] for i in range(count)]


def dataset(path="d", **args):
    return {"source": "huggingface", "path": path, "args": args}


def data_of(seed=0, **args):
    return DATASETS[HuggingFace](HuggingFace.model_validate(dataset(**args)), seed)


def test_images_are_read_as_they_are(root):
    save_split(root / "d", pictures(40))
    data = data_of(image="picture")
    every = torch.cat([s.inputs for s in (data.train, data.validation, data.test)])
    found = sorted((every[:, :, 0, 0] * 255).round().int().tolist())
    assert found == sorted([i * 5 % 256, i * 7 % 256, i * 11 % 256] for i in range(40))


def test_its_own_splits_are_kept_and_those_it_lacks_are_cut(root):
    parts = {"train": pictures(40), "test": pictures(10), "extra": pictures(10)}
    save(root / "d", parts, {"label": "abc"})
    data = data_of(image="picture")
    assert [len(s) for s in (data.train, data.validation, data.test)] == [34, 6, 10]
    assert data.test.targets.tolist() == [i % 3 for i in range(10)]
    assert data.notes == (
        "dataset: its splits extra are not used, only train, validation and test",
    )


def test_grey_images_of_several_sizes(root):
    rows = pictures(20)
    rows["picture"] = [png(i, (8 + i % 2, 8), mode="L") for i in range(20)]
    save_split(root / "d", rows)
    with pytest.raises(JobFailedError, match=r"2 different sizes: give args\.image_size"):
        data_of(image="picture")
    assert data_of(image="picture", image_size=8).train.inputs.shape == (14, 1, 8, 8)


def test_tokens_are_joined_and_cut_for_a_language_model(root):
    rows = tokens(40)
    save_split(root / "d", {"ids": rows})
    data = data_of(inputs="ids", task="language_modelling", context_length=8)
    stream = [token for row in rows for token in row]
    assert data.num_outputs == 11
    assert data.train.inputs[0].tolist() == stream[:8]
    assert data.train.targets[0].tolist() == stream[1:9]
    joined = torch.cat([s.inputs.flatten() for s in (data.train, data.validation, data.test)])
    assert joined.tolist() == stream[: 8 * (359 // 8)]


def test_what_is_not_to_be_learned_counts_nowhere(root):
    """Rows of several lengths, with targets for a part of them: the rest is as if it were not."""
    rows = [[(i + j) % 7 for j in range(4 + i % 3)] for i in range(40)]
    wanted = [[-100, -100, *row[2:]] for row in rows]
    save_split(root / "d", {"ids": rows, "labels": wanted})
    args = {"inputs": "ids", "target": "labels", "task": "language_modelling"}
    changed = {"model": GPT, "training": {"batch_size": 4, "steps": 3}}
    task = task_of(dataset=dataset(**args), metrics=["perplexity"], **changed)
    split = task.data.validation
    assert split.inputs.shape == split.targets.shape == (6, 6)
    known = split.targets != -100
    following = split.inputs[:, 1:][known[:, :-1]]
    assert split.targets[known].tolist() == following.tolist()  # the next token, where it counts
    assert not known[:, 0].any()
    assert not known[:, -1].any()
    model = task.model(0).eval()
    with torch.no_grad():
        logits = model(split.inputs)[known]
        loss = torch.nn.functional.cross_entropy(logits, split.targets[known]).item()
        hits = (logits.argmax(-1) == split.targets[known]).float().mean().item()
    measured = task.evaluate(model, split)
    assert measured["loss"] == pytest.approx(loss, rel=1e-6)
    assert measured["accuracy"] == pytest.approx(hits)
    assert measured["perplexity"] == pytest.approx(np.exp(loss), rel=1e-6)
    assert task.loss(model, (split.inputs, split.targets)).item() == pytest.approx(loss, rel=1e-6)


class Words:
    """Stands for a tokenizer: a word is its length."""

    pad_token_id, eos_token_id = 0, 9

    def __init__(self):
        self.seen = 0

    def __len__(self):
        return 12

    def __call__(self, texts, max_length=None, **_options):
        self.seen += len(texts)
        return {"input_ids": [[len(word) for word in t.split()][:max_length] for t in texts]}


@pytest.fixture
def words(monkeypatch):
    made = Words()
    given = huggingface._tokenizer
    monkeypatch.setattr(huggingface, "_tokenizer", lambda args: made if args.text else given(args))
    return made


TEXT = {"text": "text", "tokenizer": {"path": "t"}}
MODELLING = {"task": "language_modelling", "context_length": 8}
KINDS = {
    "images": {"image": "picture"},
    "tokens": {"inputs": "ids", "max_length": 7},
    "values": {"inputs": "ids", "target": "value", "task": "regression"},
    "joined": {"inputs": "ids", **MODELLING},
    "taught": {"inputs": "ids", "target": "ids", "task": "language_modelling"},
    "texts": TEXT,
    "joined texts": {**TEXT, **MODELLING},
}


def columns(count):
    rows = pictures(count) | {"ids": tokens(count), "value": [[i / 7, i] for i in range(count)]}
    return rows | {"text": ["ab c " * (3 + i % 4) for i in range(count)]}


@pytest.fixture(params=KINDS)
def kind(request, root, words):
    save(root / "d", {"train": columns(60), "test": columns(20)}, {"label": "abc"}, shards=2)
    return KINDS[request.param]


@pytest.fixture
def preloads(monkeypatch, tmp_path):
    def at_most(size):
        limits = Limits(preload_bytes=size, scratch=tmp_path / "scratch")
        monkeypatch.setattr("worker.settings.Settings.dataset_limits", limits)

    return at_most


def test_what_is_streamed_is_the_same_data_and_says_so(kind, preloads, tmp_path):
    preloaded = data_of(**kind)
    preloads(2000)
    streamed = data_of(**kind)
    assert (preloaded.streamed, streamed.streamed) == (False, True)
    assert streamed.digest() == preloaded.digest()
    assert "streamed from disk" in streamed.found.warnings[-1]
    known = {"streamed": False, "warnings": []}
    assert streamed.found.model_copy(update=known) == preloaded.found
    assert (streamed.vocabulary, streamed.padding) == (preloaded.vocabulary, preloaded.padding)
    assert list((tmp_path / "scratch").iterdir()) == []  # its files have no name


def test_texts_that_fit_memory_are_read_once(root, words, preloads):
    save_split(root / "d", columns(40))
    for size, read in ((8 * sum(3 + i % 4 for i in range(40)) * 2, 40), (500, 80)):
        words.seen = 0
        preloads(size)
        data_of(**TEXT)
        assert words.seen == read


def many_tokens(count, length):
    flat = pyarrow.array(np.arange(count * length) % 11)
    lists = pyarrow.FixedSizeListArray.from_arrays(flat, length)
    return {"ids": lists, "label": [i % 2 for i in range(count)]}


@pytest.mark.parametrize(
    ("rows", "args"),
    [
        ({"picture": [png((1, 2, 3), (64, 64))] * 200, "label": [0, 1] * 100}, KINDS["images"]),
        (many_tokens(5_000, 200), {"inputs": "ids", "max_length": 200}),
        (many_tokens(5_000, 200), {"inputs": "ids", "max_length": 200, **MODELLING}),
    ],
    ids=["images", "tokens", "joined"],
)
def test_streamed_data_takes_less_memory_than_its_arrays(root, preloads, rows, args):
    save_split(root / "d", rows)
    peaks = []
    for size in (1 << 30, 1 << 20):
        preloads(size)
        tracemalloc.start()
        found = data_of(**args).found
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > 8e6  # the measure measures
    assert found.array_bytes > 8e6
    assert peaks[1] < 6e6


def test_targets_that_take_more_than_the_memory_for_it_are_told(root, preloads):
    save_split(root / "d", columns(40))
    preloads(40 * 2 * 8 - 1)
    told = r"target 'value': it takes \d+ bytes; .* at most 639 are .*LRTUNER_PRELOAD_MB"
    with pytest.raises(JobFailedError, match=told):
        data_of(**KINDS["values"])


def test_splits_that_hold_different_things_are_told(root):
    other = pictures(10) | {"label": ["a", "b"] * 5}
    save(root / "d", {"train": pictures(20), "test": other})
    with pytest.raises(JobFailedError, match="'label' holds int64 in train, string in test"):
        data_of(image="picture")


def test_gaps_in_tokens_are_told(root):
    save_split(root / "d", {"ids": [[1, None, 2]] * 20, "label": [0, 1] * 10})
    with pytest.raises(JobFailedError, match="column 'ids': some of its lists have gaps"):
        data_of(inputs="ids")


def test_what_was_found_is_told_as_of_files(root):
    parts = {"train": pictures(20), "test": pictures(10), "extra": pictures(10)}
    save(root / "d", parts, {"label": "abcd"})
    found = data_of(image="picture").found
    assert (found.format, found.kind, found.task) == ("huggingface", "images", "classification")
    assert (found.num_examples, found.input_shape, found.num_outputs) == (30, [3, 8, 8], 4)
    assert found.splits == {"train": 17, "validation": 3, "test": 10}
    assert found.own_splits
    assert (found.target, found.class_counts) == ("label", {"a": 11, "b": 10, "c": 9, "d": 0})
    types = [(field.name, field.type) for field in found.fields]
    assert types == [("picture", "struct<bytes: binary, path: null>"), ("label", "int64")]
    assert found.array_bytes == 30 * (3 * 8 * 8 * 4 + 8)
    assert [told[:17] for told in found.warnings] == ["its splits extra ", "some classes have"]


def test_a_job_that_does_not_fit_the_number_of_examples_is_told_before_a_sandbox(root):
    save_split(root / "d", pictures(20))
    changed = {"model": CONVNET, "training": {"batch_size": 15, "steps": 3}}
    spec = spec_of(dataset=dataset(image="picture"), **changed)
    told = r"training\.batch_size: .*14"
    with pytest.raises(JobFailedError, match=told), read_outside(spec):
        pass


@pytest.mark.parametrize("size", [1 << 30, 2000])
def test_what_is_handed_over_is_the_same_data(kind, preloads, size):
    preloads(size)
    spec = spec_of(
        model={"source": "entrypoint", "target": "a:b"},
        dataset=dataset(**kind),
        training={"batch_size": 4, "steps": 3},
    )
    data = named_data(spec)
    with read_outside(spec) as handed:
        found = mapped(Handover.model_validate(handed.model_dump()))  # as it passes the pipe
        assert found.digest() == data.digest()
    for name in ("num_outputs", "vocabulary", "padding", "notes", "found"):
        assert getattr(found, name) == getattr(data, name)


@pytest.mark.slow
def test_a_sandbox_trains_on_it_as_this_process_does(root, preloads, tmp_path):
    parts = {"train": pictures(40), "test": pictures(10), "extra": pictures(10)}
    save(root / "d", parts, {"label": "abc"})
    for file in root.rglob("*.arrow"):
        file.chmod(0o600)  # whoever is inside has no right to read it
    changed = {"model": CONVNET, "training": {"batch_size": 8, "steps": 3}}
    spec = spec_of(dataset=dataset(image="picture"), **changed)
    prepare(CPU)
    outside = make_task(spec, CPU)
    preloads(1000)
    rules = Rules(sandbox=True, data_dir=str(tmp_path / "data"))
    with trained_in(rules, spec, CPU) as inside:
        assert inside.data.streamed
        assert inside.data.digest() == outside.data.digest()
        assert inside.notes == outside.notes != []
        found, wanted = (trainer.train(task, [0.01] * 3, 0) for task in (inside, outside))
    assert found.curve == wanted.curve
    assert found.metrics == wanted.metrics


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"image": "label"}, r"row 0 of 'label' is no image"),
        ({"image": "photo"}, r"no column 'photo'; there are picture, label"),
        ({"image": "picture", "target": "picture"}, "neither texts nor numbers"),
        ({"inputs": "label"}, "must hold lists of whole numbers"),
    ],
)
def test_columns_that_do_not_fit_are_told(root, args, told):
    save_split(root / "d", pictures(20))
    with pytest.raises(JobFailedError, match=told):
        data_of(**args)


def test_rows_of_several_lengths_need_padding(root):
    rows = [[1] * (3 + i % 2) for i in range(20)]
    save_split(root / "d", {"ids": rows, "label": [i % 2 for i in range(20)]})
    with pytest.raises(JobFailedError, match=r"3 to 4 tokens: args\.tokenizer must name one"):
        data_of(inputs="ids")


def test_images_elsewhere_are_not_followed(root):
    rows = {"picture": [{"bytes": None, "path": "/etc/passwd"}] * 20, "label": [0, 1] * 10}
    save_split(root / "d", rows)
    with pytest.raises(JobFailedError, match="an image that was saved with the dataset"):
        data_of(image="picture")


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", "a/b.arrow", ".."])
def test_files_elsewhere_are_not_opened(root, name):
    save_split(root / "d", pictures(20))
    state = {"_data_files": [{"filename": name}]}
    (root / "d" / "state.json").write_text(json.dumps(state))
    with pytest.raises(JobFailedError, match="a file elsewhere"):
        data_of(image="picture")


def test_what_is_damaged_is_told(root):
    save_split(root / "d", pictures(20))
    next((root / "d").glob("*.arrow")).write_bytes(b"no arrow")
    with pytest.raises(JobFailedError, match="no intact Arrow file"):
        data_of(image="picture")
    (root / "d" / "state.json").write_text("{")
    with pytest.raises(JobFailedError, match=r"as save_to_disk writes it: state\.json"):
        data_of(image="picture")


def test_what_is_not_there_or_leads_out_is_told(root, tmp_path):
    with pytest.raises(JobFailedError, match=r"dataset\.path: there is no 'd' below the data root"):
        data_of(image="picture")
    save_split(tmp_path / "outside", pictures(20))
    (root / "d").symlink_to(tmp_path / "outside")
    with pytest.raises(JobFailedError, match="leads out of the data root"):
        data_of(image="picture")


def test_what_is_larger_than_the_memory_for_it_is_told(root, monkeypatch):
    monkeypatch.setenv("LRTUNER_MAX_DATASET_MB", "1")
    rows = pictures(100)
    rows["picture"] = [png((1, 2, 3), size=(64, 64))] * 100
    save_split(root / "d", rows)
    with pytest.raises(JobFailedError, match="at most 1048576 are possible"):
        data_of(image="picture")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({}, "one of text, inputs and image, not none"),
        ({"image": "a", "inputs": "b"}, "not inputs and image"),
        ({"text": "a"}, "a text needs one"),
        ({"text": "a", "tokenizer": {}}, "say where it lies"),
        ({"text": "a", "tokenizer": {"path": "../b"}}, "below the data root"),
        ({"image": "a", "task": "language_modelling"}, "no language in images"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(args, told):
    with pytest.raises(ValidationError, match=told):
        spec_of(model=CONVNET, dataset=dataset(**args))


def test_a_language_model_of_ours_cannot_classify():
    with pytest.raises(ValidationError, match="'gpt' learns tokens, but the targets of dataset"):
        spec_of(model=GPT, dataset=dataset(inputs="ids"))


def test_a_library_that_is_not_installed_is_told_with_how(root, monkeypatch):
    save_split(root / "d", {"text": ["a b"] * 20, "label": [0, 1] * 10})
    monkeypatch.setitem(sys.modules, "transformers", None)
    told = (
        r"args\.tokenizer: transformers is not installed .* pip install 'lrtuner\[transformers\]'"
    )
    with pytest.raises(JobFailedError, match=told):
        data_of(text="text", tokenizer={"path": "d"})
    model = {"source": "transformers", "task": "causal_lm", "weights": "random"}
    model["args"] = {"config": {"model_type": "gpt2"}}
    told = r"model\.source: transformers is not installed where the worker runs: pip install"
    with pytest.raises(JobFailedError, match=told):
        task_of(model=model, dataset={"name": "python_stdlib_text", "args": {"max_chars": 10_000}})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(JobFailedError, match=r"pip install 'lrtuner\[datasets\]'"):
        data_of(inputs="text")
