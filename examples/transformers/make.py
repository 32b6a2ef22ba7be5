"""A small checkpoint and a dataset to fine-tune it on, made from real text: Python's own library.

`python -m examples.transformers.make FOLDER` writes `FOLDER/tiny-bert`, a BERT of two layers with
its tokenizer that was trained to tell from which of eight modules a line of source comes, and
`FOLDER/lines`, lines of four other modules as a Hugging Face dataset. Beside this file, `job.json`
fine-tunes the one on the other. Takes some seconds on one CPU, and needs no network.
"""

import random
import sys
import sysconfig
from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

BEFORE = (
    "argparse", "calendar", "configparser", "difflib", "doctest", "inspect", "mailbox", "optparse",
)  # fmt: skip
AFTER = ("pickle", "subprocess", "tarfile", "turtle")
LINES = 400
LENGTH = 16
STEPS = 150


def lines_of(module: str) -> list[str]:
    """Different lines of a module that say something, in an order that is always the same."""
    text = Path(sysconfig.get_path("stdlib"), f"{module}.py").read_text(encoding="utf-8")
    found = {line.strip() for line in text.splitlines()}
    lines = sorted(line for line in found if len(line) >= 20)
    random.Random(module).shuffle(lines)
    return lines[:LINES]


def labelled(modules: tuple[str, ...]) -> list[tuple[str, int]]:
    """Lines of all modules with the number of theirs, mixed."""
    rows = [(line, label) for label, module in enumerate(modules) for line in lines_of(module)]
    random.Random(0).shuffle(rows)
    return rows


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Whole words and signs; what is rare is one unknown token."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordLevelTrainer(vocab_size=2000, special_tokens=special)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def make_checkpoint(folder: Path) -> None:
    """Train the BERT, and save it with its tokenizer."""
    torch.manual_seed(0)
    rows = labelled(BEFORE)
    tokenizer = make_tokenizer([text for text, _label in rows + labelled(AFTER)])
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=len(BEFORE),
    )
    model = BertForSequenceClassification(config).train()
    encoded = tokenizer(
        [text for text, _label in rows],
        padding="max_length",
        truncation=True,
        max_length=LENGTH,
        return_tensors="pt",
    )
    labels = torch.tensor([label for _text, label in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        chosen = torch.randint(len(rows), (32,))
        found = model(
            input_ids=encoded["input_ids"][chosen],
            attention_mask=encoded["attention_mask"][chosen],
            labels=labels[chosen],
        )
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        if step % 50 == 49:
            print(f"update {step + 1} of {STEPS}: loss {found.loss.item():.3f}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_dataset(folder: Path) -> None:
    """Save the lines of the other modules, with a training and a test split."""
    rows = labelled(AFTER)
    features = Features({"line": Value("string"), "module": ClassLabel(names=list(AFTER))})
    held_out = len(rows) // 5

    def part(chosen: list[tuple[str, int]]) -> Dataset:
        texts, labels = zip(*chosen, strict=True)
        return Dataset.from_dict({"line": list(texts), "module": list(labels)}, features)

    parts = {"train": part(rows[held_out:]), "test": part(rows[:held_out])}
    DatasetDict(parts).save_to_disk(folder)


def main() -> None:
    """Make both."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.transformers.make FOLDER")
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    make_checkpoint(folder / "tiny-bert")
    make_dataset(folder / "lines")
    print(f"made {folder / 'tiny-bert'} and {folder / 'lines'}")


if __name__ == "__main__":
    main()
