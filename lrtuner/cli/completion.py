"""The command that prints a completion script for a shell, made from the command line: completion.

The script is plain text and asks nobody when a key is pressed: to start Python for each would take
longer than to type on. It completes commands, options, and the values of those that have a list of
them; everything else is a file.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from lrtuner.cli.output import say
from lrtuner.export import EXPORTERS
from lrtuner.keys import Scope
from lrtuner.lifecycle import JobStatus

_EXAMPLES = """\b
Examples:
  eval "$(lrtuner completion bash)"                                  in ~/.bashrc
  lrtuner completion zsh > ~/.zfunc/_lrtuner                         a folder of $fpath
  lrtuner completion fish > ~/.config/fish/completions/lrtuner.fish
"""


class Shell(StrEnum):
    """A shell that can complete commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


_VALUES: dict[tuple[str, str], Sequence[str]] = {
    ("export", "--format"): list(EXPORTERS),
    ("download", "--format"): list(EXPORTERS),
    ("jobs", "--status"): list(JobStatus),
    ("keys create", "--scope"): list(Scope),
    ("completion", ""): list(Shell),
}
"""The values of an option, or under "" of the argument, of a command."""


@dataclass(frozen=True)
class _Option:
    name: str
    takes_value: bool
    help: str
    values: list[str]


@dataclass(frozen=True)
class _Command:
    """A command, or a group of `commands`; `path` is how it is typed, "" for lrtuner itself."""

    path: str
    help: str
    options: list[_Option]
    values: list[str]
    commands: list["_Command"]

    @property
    def name(self) -> str:
        """The last word of its path."""
        return self.path.rpartition(" ")[2]

    def all(self) -> Iterator["_Command"]:
        """The command and everything below it."""
        yield self
        for command in self.commands:
            yield from command.all()


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog=_EXAMPLES)(completion)


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print a script that completes commands, options and files in your shell."""
    say(_SCRIPTS[shell](_command(context.find_root().command)))


def _command(command: Any, path: str = "") -> _Command:
    inside = getattr(command, "commands", {})
    options = [
        _Option(
            name=name,
            takes_value=not parameter.is_flag,
            help=_short(parameter.help),
            values=[str(value) for value in _VALUES.get((path, name), [])],
        )
        for parameter in command.params
        for name in parameter.opts
        if name.startswith("--")
    ]
    return _Command(
        path=path,
        help=_short(command.help),
        options=[*options, _Option("--help", False, "Show the help.", [])],
        values=[str(value) for value in _VALUES.get((path, ""), [])],
        commands=[_command(c, f"{path} {name}".strip()) for name, c in inside.items()],
    )


def _short(text: str | None) -> str:
    """The first sentence, or line."""
    line = (text or "").strip().split("\n\n")[0].replace("\n", " ")
    return line.split(". ")[0].split("; ")[0].rstrip(".")


def _paths(root: _Command) -> str:
    """The pattern of a `case` that finds the commands."""
    return _pattern(command.path for command in root.all() if command.path)


def _listed(root: _Command) -> Iterator[tuple[str, list[str]]]:
    """A pattern for each option whose values are known, after its command, and the values."""
    for command, option in _options(root):
        if option.values:
            yield _pattern([f"{command.path} {option.name}"]), option.values


def _files(root: _Command) -> str:
    """The pattern for all other options with a value: files, or what nobody can list."""
    return _pattern(
        f"{command.path} {option.name}"
        for command, option in _options(root)
        if option.takes_value and not option.values
    )


def _options(root: _Command) -> Iterator[tuple[_Command, _Option]]:
    return ((command, option) for command in root.all() for option in command.options)


def _pattern(cases: Iterable[str]) -> str:
    return "|".join(map(shlex.quote, cases))


# bash -------------------------------------------------------------------------------------------

_BASH = """\
# bash completion for lrtuner; made by: lrtuner completion bash
_lrtuner() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    local command="" word words=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{command:+$command }}$word" in
            {paths}) command="${{command:+$command }}$word" ;;
        esac
    done
    COMPREPLY=()
    case "$command $previous" in
{values}
        {files}) return ;;
    esac
    case "$command" in
{words}
    esac
    if [[ $current == -* || $words != -* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    fi
}}
complete -o default -F _lrtuner lrtuner"""


def _bash(root: _Command) -> str:
    values = [
        f"        {case}) COMPREPLY=($(compgen -W '{' '.join(known)}' -- \"$current\")); return ;;"
        for case, known in _listed(root)
    ]
    words = []
    for command in root.all():
        first = [*(c.name for c in command.commands), *command.values]
        listed = shlex.quote(" ".join([*first, *(o.name for o in command.options)]))
        words.append(f"        {shlex.quote(command.path)}) words={listed} ;;")
    return _BASH.format(
        paths=_paths(root),
        values="\n".join(values),
        files=_files(root),
        words="\n".join(words),
    )


# zsh --------------------------------------------------------------------------------------------

_ZSH = """\
#compdef lrtuner
# zsh completion for lrtuner; made by: lrtuner completion zsh
_lrtuner() {{
    local command="" word
    local -a first options
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "${{command:+$command }}$word" in
            ({paths}) command="${{command:+$command }}$word" ;;
        esac
    done
    case "$command ${{words[CURRENT-1]}}" in
{values}
        ({files}) _files; return ;;
    esac
    case "$command" in
{words}
    esac
    if [[ $PREFIX == -* ]]; then
        _describe option options
    elif (( $#first )); then
        _describe command first
    else
        _files
    fi
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _lrtuner "$@"
else
    compdef _lrtuner lrtuner
fi"""


def _zsh(root: _Command) -> str:
    values = [
        f"        ({case}) compadd -- {' '.join(known)}; return ;;" for case, known in _listed(root)
    ]
    words = []
    for command in root.all():
        first = [_described(c.name, c.help) for c in command.commands]
        first += [shlex.quote(value) for value in command.values]
        options = [_described(option.name, option.help) for option in command.options]
        words.append(f"        ({shlex.quote(command.path)})")
        words.append(f"            first=({' '.join(first)})")
        words.append(f"            options=({' '.join(options)}) ;;")
    return _ZSH.format(
        paths=_paths(root),
        values="\n".join(values),
        files=_files(root),
        words="\n".join(words),
    )


def _described(name: str, help: str) -> str:
    return shlex.quote(f"{name}:{help}")


# fish -------------------------------------------------------------------------------------------


def _fish(root: _Command) -> str:
    groups = [command.name for command in root.commands if command.commands]
    lines = ["# fish completion for lrtuner; made by: lrtuner completion fish"]
    for command in root.all():
        here = _fish_condition(command, groups)
        for inside in command.commands:
            told = f"-a {inside.name} -d {shlex.quote(inside.help)}"
            lines.append(f"complete -c lrtuner -n {here} -f {told}")
        if command.values:
            values = shlex.quote(" ".join(command.values))
            lines.append(f"complete -c lrtuner -n {here} -f -a {values}")
        for option in command.options:
            value = " -r" if option.takes_value else ""
            if option.values:
                value = f" -x -a {shlex.quote(' '.join(option.values))}"
            name, told = option.name.removeprefix("--"), shlex.quote(option.help)
            lines.append(f"complete -c lrtuner -n {here} -l {name}{value} -d {told}")
    return "\n".join(lines)


def _fish_condition(command: _Command, groups: list[str]) -> str:
    """Whether the command, and none below it, was typed."""
    if not command.path:
        return "__fish_use_subcommand"
    seen = [f"__fish_seen_subcommand_from {word}" for word in command.path.split()]
    inside = [c.name for c in command.commands]
    others = inside or ([] if " " in command.path else groups)
    if others:
        seen.append(f"not __fish_seen_subcommand_from {' '.join(others)}")
    return shlex.quote("; and ".join(seen))


_SCRIPTS: dict[Shell, Callable[[_Command], str]] = {
    Shell.BASH: _bash,
    Shell.ZSH: _zsh,
    Shell.FISH: _fish,
}
