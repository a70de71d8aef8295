"""The labelling loop's targets as one table: each row a command, run one after the other.

``python -m benchmarks.loop_table`` runs what benchmarks/results/loop.json does not hold yet, which
takes hours, and prints what was reached beside what was wanted; it can be stopped and goes on where
it was. ``--rows hippocampus-3,many`` runs some, ``--again`` anew, ``--show`` none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.loop import COHORTS
from benchmarks.machine import describe
from sammed.evaluation.tables import Table
from sammed.io.output import atomic_text

RESULTS = Path(__file__).parent / "results"
FILE = RESULTS / "loop.json"

Found = dict[str, Any]

LOOP = "benchmarks.loop "


def segmenter(printed: Sequence[Found]) -> Found:
    """Mean Dice without a prompt, and how right its estimates were, of `benchmarks.loop`."""
    *draws, last = printed
    told = [draw["estimates"]["all"] for draw in draws]
    return {
        "value": last["mean"]["dice"],
        "interval": [last["mean"]["low"], last["mean"]["high"]],
        "seconds": [draw["seconds"] for draw in draws],
        "estimates": {key: round(mean(one[key] for one in told), 4) for key in ("r", "error")},
    }


def gained(printed: Sequence[Found]) -> Found:
    """What tuning wins, of `benchmarks.loop --what promptable`."""
    return _tuned(printed, "difference")


def reached(printed: Sequence[Found]) -> Found:
    """What was reached after tuning, of the same."""
    return _tuned(printed, "after")


def _tuned(printed: Sequence[Found], what: str) -> Found:
    return {
        "value": round(mean(draw[what] for draw in printed), 4),
        "interval": [printed[0]["low"], printed[0]["high"]] if len(printed) == 1 else None,
        "seconds": [draw["learned"] for draw in printed],
    }


@dataclass(frozen=True)
class Row:
    """One target.

    Attributes
    ----------
    what
        In words.
    target
        At least this; negative: at most what it is without its sign.
    command
        After ``python -m``; ``{out}`` is a folder of its own, ``{cohorts}`` that of the cohorts.
    read
        Makes a result of the JSON lines that were printed.
    file
        Read instead of them, below ``{out}`` or the results.
    """

    what: str
    target: float
    command: str
    read: Callable[[Sequence[Found]], Found] = segmenter
    file: str = ""

    @property
    def drawn(self) -> bool:
        """Whether it can be repeated with others to learn from."""
        return self.command.startswith(LOOP)

    def met(self, found: Found) -> bool:
        """Whether a result is as wanted."""
        value = float(found["value"])
        return value <= -self.target if self.target < 0 else value >= self.target


TUNED = " --what promptable --prompt A --share 1"

ROWS = {
    "hippocampus-3": Row("hippocampus, 3 people, 5 minutes", 0.82,
                         LOOP + "hippocampus --learn 3 --minutes 5 --threads 2"),
    "hippocampus-10": Row("10 people, 10 minutes", 0.875,
                          LOOP + "hippocampus --learn 10 --minutes 10 --threads 2"),
    "hippocampus-60": Row("60 people, 30 minutes", 0.885,
                          LOOP + "hippocampus --learn 60 --minutes 30 --threads 2"),
    "hippocampus-box": Row("one 3D box each, compact tuned on 10: gain", 0.08,
                           LOOP + "hippocampus --what promptable --learn 10 --test 20 --steps 700",
                           gained),
    "cine-3": Row("cine, 3 people, 4 minutes", 0.84,
                  LOOP + "cine_lv --learn 3 --minutes 4 --threads 2"),
    "cine-8": Row("cine, 8 people, 4 minutes", 0.88,
                  LOOP + "cine_lv --learn 8 --minutes 4 --threads 2"),
    "cine-box": Row("cine, tight box, tuned on 8 people", 0.92,
                    LOOP + "cine_lv --learn 8 --steps 300 --parts boxes" + TUNED, reached),
    "grey-matter": Row("grey matter, boxes on slices, 2 people: gain", 0.10,
                       LOOP + "grey_matter --learn 2 --test 4 --steps 250 --parts views,boxes "
                       "--structure grey_matter" + TUNED, gained),
    "polyps": Row("polyps, box, 14 learned: gain", 0.01,
                  LOOP + "polyps --learn 14 --test 8 --steps 300 --parts boxes" + TUNED, gained),
    "abdomens": Row("abdomens, 5 people, 10 minutes", 0.90,
                    LOOP + "abdomens --learn 5 --test 10 --minutes 10 --threads 2"),
    "prompts": Row("prompts with the loop over without", -0.4,
                   "sammed evaluate --cases {cohorts}/hippocampus/cases.json --protocol L "
                   "--rounds 3,5,12 --steps 1000 --what segmenter --no-chance --untouched 10 "
                   "--out {out}/loop",
                   lambda told: {"value": told[0]["loop_over_no_loop"]}, "loop/summary.json"),
    "many": Row("propose on 200 small scans, 2 workers over 1", 1.7, "benchmarks.many",
                lambda told: {"value": told[0]["found"]["two workers against one"]},
                str(RESULTS / "many.json")),
}  # fmt: skip


def run(row: Row, draws: int) -> Found:
    """One row, in a fresh process."""
    with tempfile.TemporaryDirectory() as out:
        words = [word.format(out=out, cohorts=COHORTS) for word in row.command.split()]
        if row.drawn:
            words += ["--draws", str(draws)]
        done = subprocess.run(
            [sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True, check=True
        )
        told = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if row.file:
            told = [(Path(out) / row.file).read_text(encoding="utf-8")]
    found = row.read([json.loads(one) for one in told])
    many = draws if row.drawn else 1
    return {**found, "command": f"python -m {row.command}", "draws": many, "machine": describe()}


def table(results: dict[str, Found]) -> str:
    """What was reached beside what was wanted, as Markdown."""
    lines = []
    for name, row in ROWS.items():
        found = results.get(name, {})
        value, state = "", "not measured"
        if found:
            value, state = f"{found['value']:.3f}", "met" if row.met(found) else "missed"
            if found.get("interval"):
                value += " ({:.3f} to {:.3f})".format(*found["interval"])
        told = found.get("estimates", {})
        estimates = f"{told['r']:.2f}, {told['error']:.3f}" if told else ""
        wanted = f"≤ {-row.target:g}" if row.target < 0 else f"≥ {row.target:g}"
        lines.append((name, row.what, wanted, value, state, estimates, str(found.get("draws", ""))))
    columns = ("Row", "What", "Wanted", "Reached", "", "Estimates: r, error", "Draws")
    return Table(columns, tuple(lines)).markdown()


def main() -> int:
    """Run what is not there yet, and print all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help="names, with commas")
    parser.add_argument("--draws", type=int, default=1, help="of who is learned from")
    parser.add_argument("--again", action="store_true", help="also what was measured before")
    parser.add_argument("--show", action="store_true", help="run nothing")
    said = parser.parse_args()
    names = said.rows.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"no row is called {', '.join(unknown)}; there is {', '.join(ROWS)}")
    results: dict[str, Found] = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in () if said.show else names:
        row, known = ROWS[name], results.get(name, {}).get("draws", 0)
        if not said.again and known >= (said.draws if row.drawn else 1):
            continue
        print(f"{name}: python -m {row.command}", flush=True)
        try:
            results[name] = run(row, said.draws)
        except subprocess.CalledProcessError as error:  # the others go on
            print(f"{name} failed with exit code {error.returncode}", flush=True)
            continue
        atomic_text(FILE, json.dumps(results, indent=1) + "\n", force=True)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
