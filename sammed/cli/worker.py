"""``sammed worker``: a session behind JSON lines on stdin and stdout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def worker(
    exchange: Annotated[
        Path | None,
        typer.Option(
            "--exchange",
            metavar="FOLDER",
            help="Where to make the folder for arrays; default: the system's temporary folder.",
        ),
    ] = None,
) -> int:
    """Serve a session to another program: JSON lines on stdin and stdout, see docs/worker.md.

    `python -m sammed.worker` is the same. It ends with its stdin, or with the program that started
    it.

    Example: sammed worker --exchange /dev/shm
    """
    parent = os.getppid()  # before anything that takes time: it may die meanwhile
    from sammed.worker.server import serve

    return serve(exchange, parent)
