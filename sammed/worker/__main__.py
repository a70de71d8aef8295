"""Start the worker: ``python -m sammed.worker [--exchange FOLDER]``."""

from sammed.worker.server import main

if __name__ == "__main__":
    raise SystemExit(main())
