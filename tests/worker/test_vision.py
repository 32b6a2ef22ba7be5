"""Models of timm and torchvision: how they are asked for, with stand-ins for the libraries."""

import os
import sys
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from lrtuner.errors import JobFailedError
from tests.worker.conftest import spec_of, task_of
from worker.rules import Rules
from worker.sandboxed import trained_in
from worker.sources import vision

SOURCES = ["timm", "torchvision"]
IMAGES = {"name": "digits"}
SMALL = {"batch_size": 32, "steps": 3}


def small_net(num_classes, channels=3, width=4):
    first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    rest = nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(first, *rest, nn.Linear(width, num_classes))


class Timm:
    """What of timm is used."""

    def __init__(self):
        self.asked = []

    def list_models(self):
        return ["resnet18", "resnet34", "vit_tiny"]

    def create_model(self, name, *, num_classes, in_chans, **args):
        self.asked.append((name, num_classes, in_chans, args))
        model = small_net(num_classes, in_chans, **args)
        model.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
        return model

    def get_pretrained_cfg(self, name):
        return SimpleNamespace(hf_hub_id=None)


class Torchvision:
    """What of torchvision is used."""

    def __init__(self):
        self.models = self
        self.asked = []

    def list_models(self, module):
        assert module is self
        return ["resnet18", "resnet34", "vit_b_16"]

    def get_model(self, name, *, weights, num_classes, **args):
        assert weights is None
        self.asked.append((name, num_classes, args))
        return small_net(num_classes, **args)

    def get_model_weights(self, name):
        address = f"https://example.org/models/{name}-0000.pth"
        return SimpleNamespace(DEFAULT=SimpleNamespace(url=address))


@pytest.fixture(params=SOURCES)
def source(request, monkeypatch, tmp_path):
    stand_in = {"timm": Timm, "torchvision": Torchvision}[request.param]()
    monkeypatch.setitem(sys.modules, request.param, stand_in)
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    vision._stored.cache_clear()
    return request.param


def job(source, dataset=IMAGES, **model):
    named = {"source": source, "name": "resnet18", **model}
    return {"model": named, "dataset": dataset, "training": SMALL}


def vector(model):
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def test_a_model_has_the_classes_and_channels_of_the_data(source):
    task = task_of(**job(source, args={"width": 6}))
    model = task.model(0)
    assert model[0].weight.shape == (6, 1, 3, 3)  # digits are grey
    assert model(task.data.train.inputs[:2]).shape == (2, 10)


def test_trying_the_model_out_draws_nothing_from_the_generator(source):
    before = torch.get_rng_state()
    task_of(**job(source))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_name_is_told_with_close_ones(source):
    with pytest.raises(JobFailedError, match=r"model\.name: .*'resnet19'; close ones are resnet"):
        task_of(**job(source, name="resnet19"))


def test_arguments_that_the_library_refuses_are_told(source):
    with pytest.raises(JobFailedError, match=r"cannot make 'resnet18': TypeError: .*depth"):
        task_of(**job(source, args={"depth": 3}))


def test_a_model_that_cannot_take_the_images_is_told(source, monkeypatch):
    def broken(*args, **kwargs):
        return nn.Sequential(nn.Conv2d(1, 1, 9), nn.Flatten(), nn.Linear(1, 10))

    name = "create_model" if source == "timm" else "get_model"
    monkeypatch.setattr(sys.modules[source], name, broken)
    with pytest.raises(JobFailedError, match=r"cannot take inputs of shape \[1, 8, 8\]: Runtime"):
        task_of(**job(source))


def test_a_model_that_gives_more_than_logits_in_training_is_told(source, monkeypatch):
    class WithHelper(nn.Module):
        def __init__(self, *args, **kwargs):
            super().__init__()
            self.inner = small_net(10, channels=1)

        def forward(self, inputs):
            found = self.inner(inputs)
            return (found, found) if self.training else found

    name = "create_model" if source == "timm" else "get_model"
    monkeypatch.setattr(sys.modules[source], name, WithHelper)
    with pytest.raises(JobFailedError, match=r"it gives tuple for two inputs of shape \[1, 8, 8\]"):
        task_of(**job(source))


def test_pretrained_weights_are_those_of_the_file_with_a_new_head(source, tmp_path):
    stored = small_net(1000, channels=1)
    save_file(stored.state_dict(), tmp_path / "net.safetensors")
    task = task_of(**job(source, weights="pretrained", path="net.safetensors"))
    assert task.notes == [
        "model: the weights are those of 'net.safetensors', but for what is made anew by the "
        "seed: 5.bias, 5.weight"
    ]
    one, other = task.model(1), task.model(2)
    assert torch.equal(one[0].weight, stored[0].weight)
    assert torch.equal(one[1].running_mean, stored[1].running_mean)
    assert not torch.equal(one[5].weight, other[5].weight)
    with torch.no_grad():
        one[0].weight.zero_()
    assert torch.equal(task.model(1)[0].weight, stored[0].weight)  # runs share no memory


def test_coloured_images_are_scaled_as_the_pretrained_weights_want(source, tmp_path, monkeypatch):
    save_file(small_net(10).state_dict(), tmp_path / "net.safetensors")
    np = pytest.importorskip("numpy")
    images = np.random.default_rng(0).random((40, 3, 8, 8)).astype("float32")
    np.savez(tmp_path / "colours.npz", x=images, y=np.arange(40) % 10)
    dataset = {"source": "path", "path": "colours.npz"}
    changed = job(source, dataset, weights="pretrained", path="net.safetensors")
    task = task_of(**changed | {"training": {"batch_size": 8, "steps": 3}})
    model = task.model(0).eval()
    mean, deviation = (0.5, 0.25) if source == "timm" else (0.485, 0.229)
    assert model.mean.flatten()[0].item() == pytest.approx(mean)
    assert model.deviation.flatten()[0].item() == pytest.approx(deviation)
    inputs = task.data.train.inputs[:2]
    expected = model.model((inputs - model.mean) / model.deviation)
    assert torch.equal(model(inputs), expected)


def test_weights_that_are_not_there_are_not_fetched(source):
    with pytest.raises(JobFailedError, match=r"model\.weights: .* nothing is fetched: give model"):
        task_of(**job(source, weights="pretrained"))


def test_weights_of_another_model_are_refused(source, tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "net.safetensors")
    with pytest.raises(JobFailedError, match=r"only 0 of the model's \d+ weights"):
        task_of(**job(source, weights="pretrained", path="net.safetensors"))


def test_other_files_than_safetensors_are_refused(source, tmp_path):
    torch.save(small_net(10).state_dict(), tmp_path / "net.pth")
    with pytest.raises(JobFailedError, match=r"model\.path: 'net.pth' is no .safetensors file"):
        task_of(**job(source, weights="pretrained", path="net.pth"))


def test_torchvision_takes_what_its_own_cache_holds(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision", Torchvision())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    stored = small_net(1000, channels=1)
    torch.save(stored.state_dict(), folder / "resnet18-0000.pth")
    task = task_of(**job("torchvision", weights="pretrained"))
    assert torch.equal(task.model(0)[0].weight, stored[0].weight)


def test_a_sandbox_has_no_caches_of_models(source):
    spec = spec_of(**job(source, weights="pretrained"))
    sandboxed = trained_in(Rules(sandbox=True), spec, torch.device("cpu"))
    with pytest.raises(JobFailedError, match=r"model\.path: a sandbox has no caches of models"):
        sandboxed.__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="the sandbox is of the same user")
@pytest.mark.parametrize("source", SOURCES[:1])
def test_weights_that_a_sandbox_of_root_cannot_read_are_told(source, monkeypatch, tmp_path):
    monkeypatch.setenv("LRTUNER_DATA_ROOT", str(tmp_path))
    (tmp_path / "net.safetensors").touch(0o600)
    spec = spec_of(**job(source, weights="pretrained", path="net.safetensors"))
    with pytest.raises(JobFailedError, match=r"net\.safetensors can be read by its owner alone"):
        trained_in(Rules(sandbox=True), spec, torch.device("cpu")).__enter__()


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_not_installed_is_told_with_how(source, monkeypatch):
    monkeypatch.setitem(sys.modules, source, None)
    with pytest.raises(JobFailedError, match=rf"pip install 'lrtuner\[{source}\]'"):
        task_of(**job(source))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"args": {"num_classes": 3}}, "it comes from the dataset"),
        ({"args": {"checkpoint_path": "x"}}, "not for a job to say"),
        ({"args": {"pretrained": True}}, "not for a job to say"),
        ({"args": {"pretrained_cfg": "x"}}, "not for a job to say"),
        ({"args": {"act_layer": "../x"}}, "args"),
        ({"args": {"block": {"a": 1}}}, "args"),
        ({"name": "hf-hub:org/model"}, "name"),
        ({"path": "../x.safetensors", "weights": "pretrained"}, "below the data root"),
        ({"path": "x.safetensors"}, "say 'pretrained'"),
    ],
)
@pytest.mark.parametrize("source", SOURCES)
def test_what_could_name_code_files_or_addresses_is_refused(source, model, told):
    with pytest.raises(ValidationError, match=told):
        spec_of(**job(source, **model))
