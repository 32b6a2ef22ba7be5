"""What a user's code gives wrong is told before any run: the field, what it was, what may be."""

import pytest
from pydantic import ValidationError

import lrtuner
from tests.worker.code.conftest import PLAIN, WINE, code_spec
from tests.worker.conftest import CPU, spec_of
from worker.sandbox.errors import CodeError
from worker.task import make_task

WRONG = {
    # what build gives
    "return None": "build(context) must give a lrtuner.Task, it gave None",
    "return {'model': net}": "it gave of type dict of 1",
    # splits
    "return Task(net, train=train)": "Task.validation is None",
    "return Task(net, validation=train)": "Task.train is None",
    "return Task(net)": "Task.train is None: only where the job names a dataset",
    "return Task(net, train=train, validation=test[0])": "Task.validation is one tensor",
    "return Task(net, train=iter(train), validation=test)": "it must have __len__ and __getitem__",
    "return Task(net, train=(x, x, y), validation=test)": "Task.train is a tuple of 3",
    "return Task(net, train=(x, y[1:]), validation=test)": "tensors of 124, 123 examples",
    "return Task(net, train=(x, 3), validation=test)": "Task.train[1] is of type int",
    "return Task(net, train=train, validation=[])": "Task.validation is empty",
    "return Task(net, train=Endless(), validation=test)": "Task.train is an IterableDataset",
    "return Task(net, train=train, validation=[{'x': x[0]}])": "a batch is of type dict of 1",
    "return Task(net, train=[(x[0], y[0], 1)] * 99, validation=test)": "a batch is of type list of",
    # the model
    "return Task(None, train=train, validation=test)": "Task.model is None",
    "return Task(lambda: 3, train=train, validation=test)": "Task.model must give an nn.Module",
    "return Task(nn.ReLU, train=train, validation=test)": "without any parameter that requires",
    "return Task(lambda: one, train=train, validation=test)": "gives 0.weight a second time",
    "return Task(lambda: nn.Sequential(one, nn.Linear(3, 3)), train=train, validation=test)": (
        "gives 0.0.weight a second time"
    ),
    # loss, step, metrics
    "return Task(net, **given, loss=3)": "Task.loss is of type int",
    "return Task(net, **given, loss=max, step=max)": "both loss and step",
    "return Task(net, **given, loss=lambda out, y: out)": "gave a tensor of shape (16, 3)",
    "return Task(net, **given, loss=lambda out, y: 0.5)": "Task.loss must give a scalar tensor",
    "return Task(net, **given, loss=lambda out, y: y.float().mean())": "depends on no parameter",
    "return Task(net, **given, step=lambda model, batch: None)": "Task.step must give a scalar",
    "return Task(net, **given, step=lambda m, b: (m(b[0]).mean(), 3))": "(loss, {name: value})",
    "return Task(net, **given, step=lambda m, b: (m(b[0]).mean(), {'loss': 1}))": "called 'loss'",
    "return Task(net, **given, step=lambda m, b: (m(b[0]).mean(), {'a b': 1}))": "called 'a b'",
    "return Task(net, **given, step=lambda m, b: (m(b[0]).mean(), {'a': 'x'}))": "step: a must",
    "return Task(net, **given, metrics=[max])": "Task.metrics is of type list",
    "return Task(net, **given, metrics={'A': max})": "a metric called 'A'",
    "return Task(net, **given, metrics={'a': 1})": "Task.metrics['a'] is of type int",
    "return Task(net, **given, metrics={'a': lambda o, y: o})": "must be a number, it is a tensor",
    "return Task(net, **given, step=max, metrics={'a': max})": "with step, return them beside",
    "return Task(net, **{**given, 'train': (x, x)})": "the targets are no classes",
    # optimizer and groups
    "return Task(net, **given, optimizer=max)": "the job's is 'sgd'; for the code's own write",
    "return Task(net, **given, optimizer=max, param_groups=max)": "both optimizer and param_groups",
    "return Task(net, **given, param_groups=lambda m: {})": "must give a list of dicts",
    "return Task(net, **given, param_groups=lambda m: [m[0]])": "Task.param_groups[0] is of type",
    "return Task(net, **given, param_groups=lambda m: [group(m, lr=1)])": "has lr: possible are",
    "return Task(net, **given, param_groups=lambda m: [group(m[0])])": "leaves out 3.weight",
    "return Task(net, **given, param_groups=lambda m: [group(m), group(m[0])])": "0.bias, 0.weight",
    "return Task(net, **given, param_groups=lambda m: [group(net())])": "that are not the model's",
    "return Task(net, **given, param_groups=lambda m: [group(m, lr_ratio=2)])": "lr_ratio is 2",
    "return Task(net, **given, param_groups=lambda m: [group(m, lr_ratio=0.5)])": "it must be 1",
    "return Task(net, **given, param_groups=lambda m: [group(m, weight_decay=-1)])": "decay is -1",
}

BODY = (
    WINE
    + """
one = nn.Sequential(nn.Linear(13, 3))

class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield 1

def group(model, **more):
    return {"params": model.parameters(), **more}

def build(context):
    train, validation, test = splits(context.seed)
    x, y = train
    given = {"train": train, "validation": test}
    """
)


@pytest.mark.parametrize("line", WRONG)
def test_it_is_refused_with_what_it_was(task_in, line):
    with pytest.raises(CodeError) as caught:
        task_in(BODY + line)
    assert WRONG[line] in str(caught.value)
    assert caught.value.code in ("code.invalid_task", "code.failed")


OF_CUSTOM = {
    "None": "Task.optimizer is None",
    "lambda model, lr: None": "must give a torch Optimizer, it gave None",
    "lambda model, lr: torch.optim.SGD(net().parameters(), lr)": "that are not the model's",
    "lambda model, lr: torch.optim.SGD(model.parameters(), 0.3)": "called with 0.001, has groups",
    "lambda model, lr: torch.optim.SGD(model.parameters(), lr / 2)": "has groups at 0.0005",
}


@pytest.mark.parametrize("function", OF_CUSTOM)
def test_an_optimizer_of_ones_own_is_one_at_the_rate(task_in, function):
    source = BODY + f"return Task(net, **given, optimizer={function})"
    with pytest.raises(CodeError) as caught:
        task_in(source, optimizer={"name": "custom"})
    assert OF_CUSTOM[function] in str(caught.value)


OF_JOB = [
    ({"loss": {"name": "cross_entropy"}}, "loss=nn.CrossEntropyLoss()", "Task.loss and loss of"),
    (
        {"search": {"compare": ["prodigy"]}},
        "param_groups=lambda m: [group(m[0]), group(m[3], lr_ratio=0.1)]",
        "search.compare: prodigy has one rate for all parameters, the task has 0.1 of it",
    ),
    ({"metrics": ["f1"]}, "step=lambda m, b: m(b[0]).mean()", "asks for f1, and .* measures loss"),
    ({"metrics": ["mse"]}, "", "asks for mse, which is not defined for .*int64"),
    ({"metrics": ["perplexity"]}, "loss=nn.CrossEntropyLoss()", "measure it in Task.metrics"),
    (
        {"training": {"batch_size": 16, "steps": 9, "no_decay": "biases_and_norms"}},
        "param_groups=lambda m: [group(m)]",
        "Task.param_groups and training.no_decay",
    ),
    (
        {"training": {"batch_size": 16, "steps": 9, "freeze": ["x*"]}},
        "",
        r"training\.freeze\.0: 'x\*' matches no parameter",
    ),
]


@pytest.mark.parametrize(("changes", "given", "told"), OF_JOB, ids=str)
def test_what_the_code_gives_must_go_with_the_job(task_in, changes, given, told):
    with pytest.raises(lrtuner.errors.JobFailedError, match=told):
        task_in(BODY + f"return Task(net, **given, {given})", **changes)


def test_only_code_makes_a_custom_optimizer_and_its_groups():
    with pytest.raises(ValidationError, match="'custom' is made by code; name one of sgd, adam"):
        spec_of(optimizer={"name": "custom"})
    with pytest.raises(ValidationError, match="with optimizer 'custom' the code makes the groups"):
        spec_of(
            model={"source": "code"},
            optimizer={"name": "custom"},
            training={"batch_size": 16, "steps": 9, "no_decay": ["*"]},
        )


FAILING = {
    "import of the file": (
        "1 / 0\n" + PLAIN,
        "ZeroDivisionError: division by zero; at lrtune.py, line 1",
    ),
    "syntax": (
        "def build(context)\n  pass",
        "SyntaxError: expected ':' at lrtune.py, line 1: def build",
    ),
    "another module": (
        "import helper\n" + PLAIN,
        "KeyError: 'x'; at helper.py, line 2, in <module>",
    ),
    "an exit": ("raise SystemExit(3)", "SystemExit: 3; at lrtune.py, line 1"),
    "build": (
        PLAIN.replace("train, val", "context.nothing; train, val", 1),
        "in build: context.nothing",
    ),
    "the model": (
        PLAIN.replace("nn.Dropout(0.1)", "nn.Linear(1, 1)"),
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
    "no build": (WINE, "lrtune.py must have a function build(context)"),
    "build is no function": ("build = 3", "it is a int"),
    "an argument": (PLAIN.replace("model=net", "modle=net"), "unexpected keyword argument 'modle'"),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_is_told_with_the_line_in_their_file(task_in, name):
    source, told = FAILING[name]
    with pytest.raises(CodeError) as caught:
        task_in(source, files={"helper": "x = {}\nx['x']\n"})
    assert told in str(caught.value)
    assert "worker/" not in str(caught.value)


def test_what_fails_in_a_later_step_is_told_with_its_line(task_in):
    task = task_in(
        BODY
        + """return Task(net, **given, step=step)

def step(model, batch):
    return halved(model(batch[0]))

def halved(outputs):
    return outputs.mean() / 2
"""
    )
    inputs, targets = next(task.batches(0, 1))
    with pytest.raises(CodeError, match=r"mat1 .*; at lrtune\.py, line \d+, in step") as caught:
        task.loss(task.model(0), (inputs[:, :5], targets))
    assert caught.value.code == "code.failed"


def test_a_folder_without_the_file_or_none_at_all(task_in, tmp_path):

    with pytest.raises(CodeError, match=r"no lrtune\.py at the top"):
        make_task(code_spec(), CPU, tmp_path)
    with pytest.raises(CodeError, match="no folder is given"):
        make_task(code_spec(), CPU)
