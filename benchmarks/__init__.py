"""What sammed costs, against what everyone does: ratios measured in one run.

python -m benchmarks                 every row, each in a fresh process; CSV, table and plot
python -m benchmarks NAME --json     one row, its ratio and its check of exactness
python -m benchmarks --list          the names
"""
