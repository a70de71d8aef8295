"""Run the benchmarks: every row in a fresh process, or one row alone."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import table
from benchmarks.rows import ROWS, Found, described, measure


def measure_apart(name: str, options: list[str]) -> Found:
    """One row in a fresh process."""
    command = [sys.executable, "-m", "benchmarks", name, "--json"]
    run = ROWS[name].run
    taken = [o for o in options if run is None or run.takes(next(iter(_options([o]))))]
    command += [part for option in taken for part in ("--set", option)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        return described(name, {"error": reason[0]})
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def run_all(
    names: list[str],
    options: list[str],
    keep: Callable[[list[Found]], None],
    known: list[Found] | None = None,
) -> list[Found]:
    """Rows one after the other, printed and kept as they come; some are read from others.

    ``known`` are results of former runs, from which rows may be read as well.
    """
    results: dict[str, Found] = {r["name"]: r for r in known or ()}
    for name in names:
        row = ROWS[name]
        if row.of and set(row.of) <= set(results):
            result = described(name, row.read(results))
        else:
            result = measure_apart(name, options)
        results[name] = result
        keep(list(results.values()))
        state = {True: "met", False: "MISSED", None: ""}[result.get("met")]
        value = result.get("error") or table.shown(result.get("ratio"), row.unit)
        wanted = f"(target {table.shown(row.target, row.unit)})" if row.target else ""
        print(f"{name:<20} {row.what:<42} {value} {wanted} {state}", flush=True)
    return list(results.values())


def _options(given: list[str]) -> dict[str, int]:
    pairs = (text.split("=", 1) for text in given)
    return {key.replace("-", "_"): int(value) for key, value in pairs}


def _write(results: list[Found]) -> None:
    """Results in the order of the rows."""
    table.write(sorted(results, key=lambda result: list(ROWS).index(result["name"])))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows; all by default")
    parser.add_argument("--json", action="store_true", help="one row in this process, as JSON")
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    parser.add_argument(
        "--set", action="append", default=[], metavar="slices=40", help="an option of the rows"
    )
    parser.add_argument(
        "--keep", action="store_true", help="put the named rows into benchmarks/results, too"
    )
    parser.add_argument(
        "--write-docs", action="store_true",
        help="put the table of benchmarks/results/results.json into docs/performance.md",
    )  # fmt: skip
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = _arguments()
    asked: Any = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in ROWS]
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}; expected one of {', '.join(ROWS)}")
    if asked.list:
        print("\n".join(f"{name:<20} {row.what} / {row.against}" for name, row in ROWS.items()))
    elif asked.write_docs:
        table.put(table.PAGE, table.markdown(table.read()))
    elif asked.json:
        if len(asked.names) != 1:
            parser.error("--json measures one row")
        print(json.dumps(measure(asked.names[0], _options(asked.set))))
    else:
        known = table.read() if asked.keep else []
        write = _write if asked.keep or not asked.names else lambda results: None
        results = run_all(asked.names or list(ROWS), asked.set, write, known)
        print("\n" + table.markdown(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
