"""The `lrtuner` command.

processes  supervisor         serve, api, worker, migrate
jobs  follow  progress        submit, wait, status, cancel, download, jobs
gate                          submit and wait --fail-if-worse-than
history                       history
find  check_task  here        find, check-task
code                          code list, code show; submit --code
datasets                      datasets upload, datasets list, datasets show
keys                          keys create, keys list, keys revoke
doctor  surroundings          doctor
configs  diff  drawing        export, check, show, summary, diff
completion                    completion
output                        what is said where, exit codes
"""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lrtuner import __version__
from lrtuner.cli import (
    check_task,
    code,
    completion,
    configs,
    datasets,
    diff,
    doctor,
    find,
    history,
    jobs,
    keys,
    processes,
)
from lrtuner.cli.output import exit_code, note, say
from lrtuner.client import ServerUnreachableError
from lrtuner.errors import LRTunerError

_EPILOG = """\b
Start here:
  lrtuner serve                              in one terminal
  lrtuner submit job.json --wait             in another; writes schedule.json
  lrtuner show schedule.json

\b
Environment:
  LRTUNER_URL      the service (default http://127.0.0.1:8470)
  LRTUNER_API_KEY  your API key, if the service asks for one
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE   as everywhere

\b
Exit codes:
  0 ok                        3 regressed, or not better
  1 job failed                4 timed out waiting
  2 usage or invalid input    5 server unreachable
"""


class Commands(TyperGroup):
    """The commands; every expected error becomes a message and an exit code here."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except LRTunerError as error:
            note(f"lrtuner: {error}")
            if isinstance(error, ServerUnreachableError):
                note("Is the service running? `lrtuner serve` starts one; LRTUNER_URL says where.")
            raise typer.Exit(exit_code(error)) from None


app = typer.Typer(
    name="lrtuner",
    cls=Commands,
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        say(f"lrtuner {__version__}")
        raise typer.Exit


@app.callback()
def lrtuner(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find which learning rate and which schedule to train with, and how sure that is."""


jobs.register(app)
history.register(app)
find.register(app)
check_task.register(app)
datasets.register(app)
code.register(app)
configs.register(app)
diff.register(app)
keys.register(app)
doctor.register(app)
processes.register(app)
completion.register(app)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app(prog_name="lrtuner")
