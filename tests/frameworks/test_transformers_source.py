"""Models and tokenizers of transformers, and datasets that `datasets` wrote: run for real."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from lrtuner.errors import JobFailedError
from tests.worker.conftest import (
    CPU,
    ListJournal,
    fingerprint,
    pipeline_of,
    spec_of,
    subject,
    task_of,
)
from worker.device import environment
from worker.runners.runner import InTurn
from worker.snapshot import Subject, restored
from worker.sources import transformers as built
from worker.training import train

pytestmark = pytest.mark.frameworks

WORDS = ["alpha", "beta", "gamma", "delta", "one", "two", "three", "[UNK]", "[PAD]", "[EOS]"]
SMALL = {"batch_size": 8, "steps": 3}
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def transformers():
    return pytest.importorskip("transformers")


def datasets():
    return pytest.importorskip("datasets")


def make_tokenizer(**special):
    parts = pytest.importorskip("tokenizers")
    tokenizer = parts.Tokenizer(
        parts.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = parts.pre_tokenizers.WhitespaceSplit()
    return transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", **special
    )


def sentences(count):
    chosen = random.Random(0)
    texts = [" ".join(chosen.choices(WORDS[:7], k=chosen.randint(3, 9))) for _ in range(count)]
    return {"text": texts, "label": [len(text.split()) % 3 for text in texts]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data root with checkpoints, and datasets as the library writes them."""
    root = tmp_path_factory.mktemp("root")
    torch.manual_seed(0)
    bert = transformers().BertConfig(
        vocab_size=len(WORDS), pad_token_id=8, initializer_range=0.5, **TINY
    )
    transformers().BertForMaskedLM(bert).to(torch.bfloat16).save_pretrained(root / "bert")
    make_tokenizer(pad_token="[PAD]").save_pretrained(root / "bert")
    gpt = transformers().GPT2Config(
        vocab_size=len(WORDS), n_positions=32, n_embd=16, n_layer=1, n_head=2
    )
    transformers().GPT2LMHeadModel(gpt).save_pretrained(root / "gpt")
    make_tokenizer(eos_token="[EOS]").save_pretrained(root / "gpt")
    vit = transformers().ViTConfig(image_size=8, patch_size=4, num_channels=1, **TINY)
    transformers().ViTForImageClassification(vit).save_pretrained(root / "vit")
    told = {"do_normalize": True, "image_mean": [0.5], "image_std": [0.25]}
    (root / "vit" / "preprocessor_config.json").write_text(json.dumps(told))
    features = datasets().Features(
        {"text": datasets().Value("string"), "label": datasets().ClassLabel(names=["a", "b", "c"])}
    )
    train_part = datasets().Dataset.from_dict(sentences(60), features)
    parts = {"train": train_part, "test": datasets().Dataset.from_dict(sentences(12), features)}
    datasets().DatasetDict(parts).save_to_disk(root / "texts", num_shards={"train": 2, "test": 1})
    train_part.shuffle(seed=0).select(range(40)).save_to_disk(root / "shuffled")
    noise = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    pictures = {"image": [Pillow.fromarray(pixels) for pixels in noise], "label": [0, 1, 2] * 10}
    kinds = datasets().Features(
        {"image": datasets().Image(), "label": datasets().ClassLabel(names=["a", "b", "c"])}
    )
    datasets().Dataset.from_dict(pictures, kinds).save_to_disk(root / "pictures")
    np.save(root / "noise.npy", noise)
    return root


@pytest.fixture
def root(made, monkeypatch):
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(made))
    built._prepared.cache_clear()
    return made


def texts(tokenizer="bert", **args):
    named = {"text": "text", "tokenizer": {"path": tokenizer}, **args}
    return {"source": "huggingface", "path": "texts", "args": named}


def job(model, task, dataset, **changes):
    named = {"source": "transformers", "task": task}
    named |= {"path": model} if isinstance(model, str) else {"weights": "random", "args": model}
    return {"model": named, "dataset": dataset, "training": SMALL} | changes


def new(kind, **config):
    return {"config": {"model_type": kind, **config}}


LANGUAGE = texts("gpt", task="language_modelling", context_length=8)
PICTURES = {"source": "huggingface", "path": "pictures", "args": {"image": "image"}}
CHARACTERS = {"name": "python_stdlib_text", "args": {"max_chars": 10_000, "context_length": 16}}
ROWS = {
    "bert": job("bert", "sequence_classification", texts()),
    "gpt": job("gpt", "causal_lm", LANGUAGE),
    "gpt that classifies": job("gpt", "sequence_classification", texts("gpt")),
    "vit": job("vit", "image_classification", PICTURES),
}


@pytest.fixture(params=ROWS)
def row(request, root):
    return ROWS[request.param]


def test_it_trains(row):
    task = task_of(**row)
    inputs, targets = next(task.batches(0, 1))
    outputs = task.model(0)(inputs)
    assert outputs.shape[:-1] == targets.shape
    assert outputs.dtype == torch.float32
    run = train(task, [0.01] * 3, seed=0)
    assert run.updates == 3
    assert run.metrics["val_loss"] is not None


def test_the_same_seed_gives_the_same_model_and_another_one_another(row):
    task = task_of(**row)
    first, again, other = (task.model(seed) for seed in (1, 1, 2))
    states = [{n: w.clone() for n, w in m.state_dict().items()} for m in (first, again, other)]
    assert all(torch.equal(w, states[1][n]) for n, w in states[0].items())
    fresh = [n for n, w in states[0].items() if not torch.equal(w, states[2][n])]
    pretrained = "path" in row["model"]
    heads = ("classifier", "pooler", "score", "lm_head")
    assert fresh or row["model"]["task"] == "causal_lm"
    assert not pretrained or all(any(head in name for head in heads) for name in fresh)


def test_runs_repeat_and_share_nothing(row):
    task = task_of(**row)
    first, other, again = (train(task, [0.01] * 3, seed=seed) for seed in (3, 4, 3))
    assert first.metrics == again.metrics
    assert first.metrics != other.metrics


def test_a_sweep_leaves_the_model_as_it_was(row):
    task, model, optimizer = subject(**row, optimizer={"name": "adamw"})
    before = fingerprint(model, optimizer)
    batch = next(task.batches(1, 1))
    with restored(Subject(model, optimizer)):
        task.loss(model, batch).backward()
        optimizer.step()
        assert fingerprint(model, optimizer) != before
    assert fingerprint(model, optimizer) == before


def test_the_weights_are_those_of_the_checkpoint_in_single_precision(root):
    task = task_of(**ROWS["bert"])
    model = task.model(0).model
    stored = transformers().BertForMaskedLM.from_pretrained(root / "bert").bert.state_dict()
    own = model.bert.state_dict()
    for name, weight in stored.items():
        assert own[name].dtype == torch.float32
        assert torch.equal(own[name], weight.float())
    assert model.classifier.weight.shape == (3, 16)
    [told] = task.notes
    assert "those of 'bert', but for what is made anew by the seed: " in told
    assert "bert.pooler.dense.bias" in told
    assert "classifier.weight" in told


def test_a_head_of_another_size_is_made_anew(root, tmp_path):
    transformers().BertForSequenceClassification(
        transformers().BertConfig(vocab_size=len(WORDS), num_labels=7, **TINY)
    ).save_pretrained(root / "seven")
    task = task_of(**job("seven", "sequence_classification", texts()))
    assert task.model(0).model.classifier.weight.shape == (3, 16)
    assert "made anew by the seed: classifier.bias, classifier.weight" in task.notes[0]


def test_the_checkpoint_is_read_once(root, monkeypatch):
    task = task_of(**ROWS["bert"])
    expected = task.model(1).state_dict()
    folder = root / "bert"
    hidden = folder.rename(root / "elsewhere")
    try:
        found = task.model(1).state_dict()
    finally:
        hidden.rename(folder)
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_tied_weights_stay_tied(root):
    task = task_of(**ROWS["gpt"])
    model = task.model(0).model
    assert model.lm_head.weight is model.transformer.wte.weight
    stored = transformers().GPT2LMHeadModel.from_pretrained(root / "gpt")
    assert torch.equal(model.lm_head.weight, stored.lm_head.weight)
    assert task.notes == []


def test_padding_is_not_attended_to(root):
    task = task_of(**ROWS["bert"])
    model = task.model(0).eval()
    tokens = torch.tensor([[0, 1, 2, 8, 8]])
    with torch.no_grad():
        alone, padded, attended = model(tokens[:, :3]), model(tokens), model.model(tokens).logits
    assert torch.allclose(alone, padded, atol=1e-5)
    assert not torch.allclose(alone, attended, atol=1e-3)
    padding = task.data.padding
    lengths = {int((x != padding).sum()) for x in task.data.train.inputs}
    assert padding == 8
    assert len(lengths) > 3


def test_dropout_is_on_in_training_and_off_in_evaluation(root):
    model = task_of(**ROWS["bert"]).model(0)
    tokens = torch.tensor([[0, 1, 2]])
    assert model.training
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))
    changed = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    named = ROWS["bert"]["model"] | {"args": {"config": changed}}
    still = task_of(**ROWS["bert"] | {"model": named}).model(0)
    assert torch.equal(still(tokens), still(tokens))


def test_images_are_scaled_as_the_checkpoint_wants(root):
    task = task_of(**ROWS["vit"])
    model = task.model(0).eval()
    inputs = task.data.train.inputs[:2]
    with torch.no_grad():
        expected = model.model.model(pixel_values=(inputs - 0.5) / 0.25).logits
        assert torch.equal(model(inputs), expected)


def test_the_tokens_are_those_of_the_tokenizer(root):
    task = task_of(**ROWS["bert"])
    tokenizer = transformers().PreTrainedTokenizerFast.from_pretrained(root / "bert")
    expected = tokenizer(sentences(12)["text"], padding="max_length", max_length=9)["input_ids"]
    assert task.data.test.inputs.tolist() == expected
    assert task.data.test.targets.tolist() == sentences(12)["label"]
    assert (task.data.num_outputs, task.data.vocabulary) == (3, 10)


def test_texts_are_joined_with_what_ends_them(root):
    data = task_of(**ROWS["gpt"]).data
    stream = [
        token
        for text in sentences(60)["text"]
        for token in [*map(WORDS.index, text.split()), WORDS.index("[EOS]")]
    ]
    joined = torch.cat([data.train.inputs.flatten(), data.validation.inputs.flatten()]).tolist()
    assert joined == stream[: len(joined)]
    assert data.train.targets[0].tolist() == stream[1:9]
    assert data.num_outputs == len(WORDS)


def test_a_shuffled_selection_is_read_as_it_was_saved(root):
    dataset = texts() | {"path": "shuffled"}
    data = task_of(**ROWS["bert"] | {"dataset": dataset}).data
    expected = datasets().Dataset.load_from_disk(str(root / "shuffled"))["label"]
    found = [*data.train.targets, *data.validation.targets, *data.test.targets]
    assert sorted(map(int, found)) == sorted(expected)


def test_images_are_read_as_the_library_wrote_them(root):
    data = task_of(**ROWS["vit"]).data
    every = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    pixels = {tuple((image * 255).round().int().flatten().tolist()) for image in every}
    noise = np.load(root / "noise.npy")
    assert pixels == {tuple(map(int, image.flatten())) for image in noise}


def test_a_folder_without_weights_gives_random_ones_and_says_so(root):
    (root / "bare").mkdir()
    (root / "bare" / "config.json").write_text((root / "bert" / "config.json").read_text())
    task = task_of(**job("bare", "sequence_classification", texts()))
    assert task.notes == [
        "model: there are no weights in 'bare': every one is random, by its config.json"
    ]
    embeddings = [task.model(s).model.bert.embeddings.word_embeddings.weight for s in (1, 2)]
    assert not torch.equal(*embeddings)


def test_pickled_weights_are_refused(root):
    (root / "pickled").mkdir()
    (root / "pickled" / "config.json").write_text((root / "bert" / "config.json").read_text())
    (root / "pickled" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(JobFailedError, match=r"pickled.*run code; .*save_pretrained, which gives"):
        task_of(**job("pickled", "sequence_classification", texts()))


def test_code_of_a_checkpoint_is_not_run(root, tmp_path):
    (root / "own-code").mkdir()
    told = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (root / "own-code" / "config.json").write_text(json.dumps(told))
    (root / "own-code" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(JobFailedError, match="transformers cannot make it"):
        task_of(**job("own-code", "sequence_classification", texts()))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (job("none", "causal_lm", LANGUAGE), r"model\.path: there is no 'none' below"),
        (job("texts", "causal_lm", LANGUAGE), r"there is no config\.json"),
        (
            job("vit", "causal_lm", LANGUAGE),
            r"model\.task: transformers has no vit for 'causal_lm'",
        ),
        (job("gpt", "causal_lm", CHARACTERS), "97 kinds of tokens, the model knows 10"),
        (job(new("gpt3"), "causal_lm", LANGUAGE), r"knows no 'gpt3'; close ones are gpt"),
        (job(new("gpt2", n_layers=1), "causal_lm", LANGUAGE), r"close ones are n_layer"),
        (job("bert", "sequence_classification", texts("vit")), "no tokenizer can be read there"),
        (
            job("gpt", "causal_lm", texts("gpt", task="language_modelling", context_length=64)),
            r"cannot take inputs of shape \[64\]|at least 10 are needed",
        ),
    ],
)
def test_what_does_not_fit_is_told(root, changed, told):
    with pytest.raises(JobFailedError, match=told):
        task_of(**changed)


def test_sizes_of_a_checkpoint_cannot_be_changed(root):
    named = ROWS["bert"]["model"] | {"args": {"config": {"hidden_size": 32}}}
    with pytest.raises(JobFailedError, match=r"model\.args\.config: .* have other sizes"):
        task_of(**ROWS["bert"] | {"model": named})


def test_a_model_of_the_cache_is_found_by_name(root, tmp_path, monkeypatch):
    folder = tmp_path / "models--org--bert"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots").mkdir()
    (folder / "snapshots" / "abc").symlink_to(root / "bert")
    monkeypatch.setattr(
        pytest.importorskip("huggingface_hub").constants, "HF_HUB_CACHE", str(tmp_path)
    )
    model = {"source": "transformers", "name": "org/bert", "task": "sequence_classification"}
    task = task_of(**ROWS["bert"] | {"model": model})
    assert "those of 'org/bert'" in task.notes[0]
    with pytest.raises(JobFailedError, match=r"model\.name: 'org/none' is not in the worker's"):
        task_of(**ROWS["bert"] | {"model": model | {"name": "org/none"}})


def test_versions_and_what_is_new_are_told_as_events(root):
    journal = ListJournal()
    pipeline = pipeline_of(spec_of(**ROWS["bert"]), journal)
    pipeline.work = task_of(**ROWS["bert"])
    pipeline._runner = InTurn(pipeline.work)
    pipeline._tell_environment()
    (kind, told), (warned, note) = journal.events
    assert (kind, warned) == ("environment", "warning")
    assert ", transformers 5." in told
    assert note == pipeline.work.notes[0]
    found = environment(CPU, "sha256:", ["transformers", "pyarrow", "no-such-library"])
    assert set(found.libraries) == {"transformers", "pyarrow"}
