"""The completion scripts, in the shells that are here."""

import shlex
import shutil
import subprocess

import pytest

from lrtuner.export import EXPORTERS

#: What is typed, and what must be offered; None for files.
CASES = [
    ("lrtuner su", {"submit", "summary"}),
    ("lrtuner --v", {"--version"}),
    ("lrtuner keys ", {"create", "list", "revoke"}),
    ("lrtuner keys cr", {"create"}),
    ("lrtuner keys create --scope s", {"submit"}),
    ("lrtuner submit --fail", {"--fail-if-worse-than"}),
    ("lrtuner submit job.json --wait --st", {"--strict"}),
    ("lrtuner export schedule.json --format ", set(EXPORTERS)),
    ("lrtuner jobs --status s", {"succeeded"}),
    ("lrtuner completion ", {"bash", "zsh", "fish"}),
    ("lrtuner show --", {"--help"}),
    ("lrtuner datasets show --", {"--help", "--json"}),
    ("lrtuner submit ", None),
    ("lrtuner submit --output ", None),
    ("lrtuner submit keys ", None),  # a file of that name
]


@pytest.fixture
def script(run):
    def script(shell):
        result = run("completion", shell)
        assert result.exit_code == 0
        return result.stdout

    return script


def test_bash_completes_what_is_typed(script):
    source = script("bash")
    for typed, expected in CASES:
        words = typed.split(" ")
        call = f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}"
        tell = '_lrtuner; for each in "${COMPREPLY[@]}"; do echo "$each"; done'
        offered = shell_output(["bash", "--norc", "-c", f"{source}\n{call}\n{tell}"])
        assert offered - {"--help"} == (expected or set()) - {"--help"}, typed


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes_what_is_typed(script, tmp_path):
    (tmp_path / "lrtuner.fish").write_text(script("fish"))
    for typed, expected in CASES:
        ask = f"source lrtuner.fish; complete -C {shlex.quote(typed)}"
        lines = shell_output(["fish", "--no-config", "-c", ask])
        offered = {line.partition("\t")[0] for line in lines}
        assert expected is None or offered - {"--help"} == expected - {"--help"}, typed


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_can_read_its_script(script):
    assert shell_output(["zsh", "-f", "-n", "-c", script("zsh")]) == set()


def test_every_command_and_option_is_in_each_script(script, run):
    for shell in ("bash", "zsh", "fish"):
        text = script(shell)
        for word in ("check-task", "history", "fail-if-worse-than", "exit-code", "revoke"):
            assert word in text


def test_another_shell_is_refused(run):
    result = run("completion", "tcsh")
    assert result.exit_code == 2
    assert "fish" in result.stderr


def shell_output(command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.splitlines())
