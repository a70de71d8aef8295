"""What sammed costs, against what everyone does: ratios measured in one run.

python -m benchmarks                 every row, each in a fresh process; CSV, JSON and plot
python -m benchmarks NAME --json     one row, its ratio and its check of exactness
python -m benchmarks NAME NAME       some rows and their table; with --keep also into the results
python -m benchmarks --list          the names
python -m benchmarks --write-docs    the table of the last whole run into docs/performance.md
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported, as the program does
