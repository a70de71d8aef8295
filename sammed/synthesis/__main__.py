"""``python -m sammed.synthesis --show out.png`` draws a sheet of samples."""

from __future__ import annotations

import argparse
from pathlib import Path

from sammed.synthesis.sheet import draw_sheet


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(prog="python -m sammed.synthesis", description=__doc__)
    parser.add_argument("--show", type=Path, required=True, help="picture to write (.png)")
    parser.add_argument("--seed", type=int, default=0, help="which samples")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--columns", type=int, default=12)
    options = parser.parse_args()
    draw_sheet(options.show, rows=options.rows, columns=options.columns, seed=options.seed)


if __name__ == "__main__":
    main()
