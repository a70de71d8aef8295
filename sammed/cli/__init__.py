"""The command line: parse, call, print.

Nothing heavy is imported until a command runs, so that ``sammed --help`` is quick.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from sammed.cli import cache, evaluate, models, project, train
from sammed.cli.batch import batch
from sammed.cli.compare import compare
from sammed.cli.console import report_error, say
from sammed.cli.convert import convert
from sammed.cli.doctor import doctor
from sammed.cli.embed import embed
from sammed.cli.info import info
from sammed.cli.learn import learn
from sammed.cli.open import open_
from sammed.cli.propose import propose
from sammed.cli.segment import segment
from sammed.cli.worker import worker
from sammed.errors import SammedError
from sammed.version import __version__

_STOPPED = 130
_UsageError: Any = typer.BadParameter.__bases__[0]  # click's, which newer typer brings itself

app = typer.Typer(
    name="sammed",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sammed {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """One box on one slice in, a 3D label volume out: CT and MR, on a laptop, offline.

    Example: sammed segment ct.nii.gz --box 120,90,210,170@88 -o liver.nii.gz
    """


app.command()(segment)
app.command()(batch)
app.command()(compare)
app.command("open")(open_)
app.command()(info)
app.command()(convert)
app.add_typer(models.app, name="models")
app.add_typer(cache.app, name="cache")
app.add_typer(evaluate.app, name="evaluate")
app.command()(embed)
app.add_typer(train.app, name="train")
app.add_typer(project.app, name="project")
app.command()(learn)
app.command()(propose)
app.command()(worker)
app.command()(doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the one place where errors become a line and an exit code.

    Parameters
    ----------
    arguments
        Without the program's name; ``sys.argv`` by default.

    Returns
    -------
    int
        0 ok, 1 bad input, 2 usage, 3 model or weights missing, 4 nothing segmented, 5 some of
        many scans failed, 130 stopped.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's matrices here are small
    command = typer.main.get_command(app)
    try:
        given = list(arguments) if arguments is not None else None
        result = command.main(given, prog_name="sammed", standalone_mode=False)
    except _UsageError as error:
        error.show()
        return 2
    except SammedError as error:
        report_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except OSError as error:
        say(f"sammed: {error.filename or 'the system'}: {error.strerror or error}")
        return 1
    except MemoryError:
        say("sammed: out of memory; close other programs or crop the volume")
        return 1
    if result == _STOPPED:  # newer typer turns Ctrl-C into this
        return _stopped()
    return result if isinstance(result, int) else 0


def _stopped() -> int:
    say("sammed: stopped; what was not finished was not written")
    return _STOPPED


def run() -> None:
    """Entry point of the ``sammed`` program."""
    code = main()
    if code == _STOPPED:  # at once: libraries take up to a second to be taken down in order
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
