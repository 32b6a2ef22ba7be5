"""Models of Hugging Face transformers: local ones, or new ones from a configuration."""

import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from lrtuner.errors import JobFailedError
from lrtuner.sources.libraries import Checkpoint, Transformers
from worker.data import Data
from worker.sources.libraries import (
    Pretrained,
    Scaled,
    below_root,
    first_line,
    listed,
    missing,
    try_out,
)

T = TypeVar("T")

_CLASSES = {
    "causal_lm": ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"),
    "sequence_classification": (
        "AutoModelForSequenceClassification",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    ),
    "image_classification": (
        "AutoModelForImageClassification",
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    ),
}
"""What makes the models of a task, and the table of the architectures that it makes."""

_STORED = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")


class Logits(nn.Module):
    """A model of transformers as ours are: inputs to logits; padding is not attended to."""

    def __init__(self, model: nn.Module, padding: int | None) -> None:
        super().__init__()
        self.model, self.padding = model, padding

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.is_floating_point():
            found = self.model(pixel_values=inputs)
        else:
            mask = None if self.padding is None else (inputs != self.padding).long()
            found = self.model(input_ids=inputs, attention_mask=mask)
        logits: Tensor = found.logits
        return logits


def build(config: Transformers, data: Data) -> nn.Module:
    """The model with a new head, initialised from torch's global generator, and its own weights.

    Raises:
        JobFailedError: there is no such model here, or it does not fit the data.
    """
    return _prepared(config.model_dump_json(), _facts(data)).model()


def notes(config: Transformers, data: Data) -> Sequence[str]:
    """What of the model is not from its checkpoint.

    Raises:
        JobFailedError: as `build`, or the model cannot take the data.
    """
    try_out(build(config, data), data)
    return _prepared(config.model_dump_json(), _facts(data)).notes


def imported(field: str = "model.source") -> Any:
    """The library, told to keep to this machine and to be quiet.

    Raises:
        JobFailedError: it is not installed.
    """
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import transformers  # noqa: PLC0415 - an extra
    except Exception as error:
        raise missing("transformers", error, field) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def folder_of(place: Checkpoint, field: str) -> Path:
    """Where a model or a tokenizer lies.

    Raises:
        JobFailedError: it is not there.
    """
    if place.path is not None:
        folder = below_root(place.path, f"{field}.path")
        if not folder.is_dir():
            raise JobFailedError(f"{field}.path: {place.path!r} is no folder")
        return folder
    imported(field)
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - comes with transformers

    try:
        return Path(snapshot_download(str(place.name), local_files_only=True))
    except Exception as error:
        told = f"{place.name!r} is not in the worker's Hugging Face cache (HF_HOME)"
        raise JobFailedError(f"{field}.name: {told}; nothing is fetched, put it there") from error


class _Facts(NamedTuple):
    """What a configuration takes from the data."""

    num_outputs: int
    vocabulary: int | None
    padding: int | None
    image: tuple[int, int, int] | None


def _facts(data: Data) -> _Facts:
    inputs = data.train.inputs
    if inputs.dim() == 4:
        channels, height, width = inputs.shape[1:]
        return _Facts(data.num_outputs, None, None, (channels, height, width))
    return _Facts(data.num_outputs, data.vocabulary or data.num_outputs, data.padding, None)


@dataclass(frozen=True)
class _Prepared:
    """Everything that a job's models are made of: read once, however many of them there are."""

    auto: Any
    settings: Any
    padding: int | None
    pretrained: Pretrained | None = None
    scale: tuple[list[float], list[float]] | None = None
    notes: tuple[str, ...] = ()

    def model(self) -> nn.Module:
        settings = copy.deepcopy(self.settings)
        model = _guarded(lambda: self.auto.from_config(settings, dtype=torch.float32))
        if self.pretrained:
            self.pretrained.lay_over(model)
        whole: nn.Module = Logits(model, self.padding)
        return (Scaled(whole, *self.scale) if self.scale else whole).train()


@lru_cache(maxsize=1)  # a process trains one job
def _prepared(text: str, facts: _Facts) -> _Prepared:
    config = Transformers.model_validate_json(text)
    auto = getattr(imported(), _CLASSES[config.task][0])
    if not (config.path or config.name):
        settings = _new_settings(config, facts)
        _check_task(config.task, settings)
        return _Prepared(auto, settings, facts.padding)
    folder = folder_of(config, "model")
    settings = _own_settings(config, folder, facts)
    _check_task(config.task, settings)
    plain = _Prepared(auto, settings, facts.padding)
    if config.weights == "random":
        return plain
    where = config.path or config.name
    if not _has_weights(folder):
        told = f"model: there are no weights in {where!r}: every one is random, by its config.json"
        return _Prepared(auto, settings, facts.padding, notes=(told,))
    pretrained = _read(auto, folder, settings)
    notes = (pretrained.note(repr(where)),) if pretrained.anew else ()
    return _Prepared(auto, settings, facts.padding, pretrained, _scale(folder, facts), notes)


def _new_settings(config: Transformers, facts: _Facts) -> Any:
    """A configuration of the architecture that the job names, with sizes that fit the data."""
    given = dict(config.args.config)
    kind = str(given.pop("model_type"))
    known = imported().models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if kind not in known:
        raise _unknown("model.args.config.model_type", kind, known)
    make = imported().AutoConfig.for_model
    fresh = _guarded(lambda: make(kind))
    _check_names(given, fresh)
    sizes = {"num_labels": facts.num_outputs, "vocab_size": facts.vocabulary}
    if facts.image:
        sizes |= {"num_channels": facts.image[0], "image_size": _side(facts.image)}
    fitting = {n: v for n, v in sizes.items() if v is not None and hasattr(fresh, n)}
    settings = _guarded(lambda: make(kind, **(fitting | given)))
    for name in ("bos_token_id", "eos_token_id"):  # of the vocabulary that it was made for
        token = getattr(settings, name, None)
        if isinstance(token, int) and token >= (facts.vocabulary or 0):
            setattr(settings, name, None)
    settings.pad_token_id = facts.padding
    return _finished(settings, facts)


def _own_settings(config: Transformers, folder: Path, facts: _Facts) -> Any:
    """The configuration of a folder with what the job says of it, and as many outputs as needed."""
    given = dict(config.args.config)
    if not (folder / "config.json").is_file():
        told = "there is no config.json in the folder: save_pretrained writes one"
        raise JobFailedError(f"model.{'path' if config.path else 'name'}: {told}")

    def read(**changed: Any) -> Any:
        local = {"local_files_only": True, "trust_remote_code": False}
        return _guarded(lambda: imported().AutoConfig.from_pretrained(folder, **local, **changed))

    _check_names(given, read())
    settings = read(num_labels=facts.num_outputs, **given)
    if facts.padding is not None:
        settings.pad_token_id = facts.padding
    return _finished(settings, facts)


def _check_task(task: str, settings: Any) -> None:
    # asked for here, because the library's own answer imports every configuration there is
    names = getattr(imported().models.auto.modeling_auto, _CLASSES[task][1])
    if settings.model_type not in names:
        told = f"transformers has no {settings.model_type} for {task!r}"
        raise JobFailedError(f"model.task: {told}")


def _finished(settings: Any, facts: _Facts) -> Any:
    tokens = getattr(settings, "vocab_size", None)
    if facts.vocabulary and tokens is not None and tokens < facts.vocabulary:
        told = f"the data has {facts.vocabulary} kinds of tokens, the model knows {tokens}"
        raise JobFailedError(f"model: {told}: it needs the tokenizer that it was made with")
    settings.use_cache = False
    return settings


def _check_names(given: dict[str, Any], settings: Any) -> None:
    known = settings.to_dict()
    for name in given:
        if name not in known and name not in settings.attribute_map:
            raise _unknown(f"model.args.config.{name}", name, known)


def _side(image: tuple[int, int, int]) -> Any:
    _channels, height, width = image
    return height if height == width else [height, width]


def _has_weights(folder: Path) -> bool:
    """Whether there are weights that may be read.

    Raises:
        JobFailedError: there are only pickled ones.
    """
    if any((folder / name).is_file() for name in _STORED):
        return True
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    pickled = [name for name in pickled if name != "training_args.bin"]
    if not pickled:
        return False
    told = f"the weights ({listed(pickled)}) are pickled, and reading them could run code"
    raise JobFailedError(
        f"model: {told}; where you trust them, load the model with transformers and write it "
        "anew with save_pretrained, which gives model.safetensors"
    )


def _read(auto: Any, folder: Path, settings: Any) -> Pretrained:
    model, found = _guarded(
        lambda: auto.from_pretrained(
            folder,
            config=copy.deepcopy(settings),
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    )
    base = model.base_model_prefix + "."
    resized = {name for name, *_sizes in found["mismatched_keys"]}
    inside = [name for name in resized if name.startswith(base)]
    if inside:
        told = f"{listed(inside)} have other sizes in the checkpoint"
        raise JobFailedError(f"model.args.config: {told}; say weights 'random', or leave it out")
    state = model.state_dict()
    anew = resized | set(found["missing_keys"])
    if all(name in anew for name in state if name.startswith(base)):
        told = f"nothing of a {settings.model_type} is among the weights"
        raise JobFailedError(f"model: {told}, only {listed(found['unexpected_keys'])}")
    kept = {name: weight for name, weight in state.items() if name not in anew}
    return Pretrained(kept, tuple(sorted(anew)))


def _scale(folder: Path, facts: _Facts) -> tuple[list[float], list[float]] | None:
    """Mean and deviation of each channel that the model was trained with, where it is told."""
    file = folder / "preprocessor_config.json"
    if facts.image is None or not file.is_file():
        return None
    told = json.loads(file.read_text(encoding="utf-8"))
    mean, deviation = told.get("image_mean"), told.get("image_std")
    if not told.get("do_normalize", True) or not mean or not deviation:
        return None
    return (mean, deviation) if len(mean) == len(deviation) == facts.image[0] else None


def _guarded(work: Callable[[], T]) -> T:
    """What `work` gives; whatever the library raises is the job's fault, and told."""
    try:
        return work()
    except JobFailedError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {first_line(error)}"
        raise JobFailedError(f"model: transformers cannot make it: {told}") from error


def _unknown(field: str, name: str, known: Any) -> JobFailedError:
    close = get_close_matches(name, list(known), n=5)
    hint = f"; close ones are {', '.join(close)}" if close else ""
    return JobFailedError(f"{field}: transformers knows no {name!r}{hint}")
