"""``python -m sammed.training compact --minutes 5``: the command `sammed train`."""

from __future__ import annotations

import logging
import signal

import typer

from sammed.cli.train import train

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("sammed").setLevel(logging.INFO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    typer.run(train)
