"""``python -m sammed.synthesis --show out.png`` draws a sheet of samples."""

from __future__ import annotations

import argparse
from pathlib import Path

from sammed.synthesis.sheet import draw_block_sheet, draw_sheet


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(prog="python -m sammed.synthesis", description=__doc__)
    parser.add_argument("--show", type=Path, required=True, help="picture to write (.png)")
    parser.add_argument("--seed", type=int, default=0, help="which samples")
    parser.add_argument("--blocks", action="store_true", help="samples for 3D boxes")
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, help="default 12; of 3D boxes 3")
    options = parser.parse_args()
    draw = draw_block_sheet if options.blocks else draw_sheet
    columns = options.columns or (3 if options.blocks else 12)
    draw(options.show, rows=options.rows, columns=columns, seed=options.seed)


if __name__ == "__main__":
    main()
