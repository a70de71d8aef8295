"""Start the worker: ``python -m sammed.worker`` is ``sammed worker``."""

import sys

from sammed.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["worker", *sys.argv[1:]]))
