"""``python -m sammed``: the command line."""

from sammed.cli import run

if __name__ == "__main__":
    run()
