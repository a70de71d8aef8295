"""The table behind "objects like this reach ...": made from a run, and how often it is right.

    sammed evaluate --cases cases.json --protocol A,B,B2 --jitter 0.05 --factors --out RUN
    python -m benchmarks.expectation RUN/factors.csv --store

prints, for each kind of prompts, how often the Dice of a person's objects lies in the interval that
was made without this person: the coverage of 90 % intervals. With ``--store`` the table is put into
the package, for the weights that are shipped. Kinds of prompts that the run lacks stay as the
package has them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammed.evaluation.factors import Judged, read_csv
from sammed.evaluation.tables import Table
from sammed.models import registry
from sammed.reporting.expectation import (
    FOLDER,
    KINDS,
    LEVEL,
    Example,
    Expected,
    learn,
    read_table,
    table_of,
    values_of,
)
from sammed.reporting.ridge import logit
from sammed.version import __version__

PROTOCOLS = {"B": "3D box", "B2": "one box", "A": "boxes on slices"}
"""The kind of prompts of each protocol that is measured."""

MOST_BYTES = 100_000


def examples_of(judged: Sequence[Judged], model: str) -> list[Example]:
    """What a table holds of a run: the results whose masks were kept, and found something.

    A subject has the name of its first case.
    """
    first = {j.subject: j.case for j in reversed(judged)}
    return [
        Example(
            j.case, first[j.subject], j.object, PROTOCOLS[j.protocol], j.dice,
            values_of(j.found, j.found_looseness, j.predicted_iou),
        )
        for j in judged
        if j.found is not None and j.headline and j.model == model and j.protocol in PROTOCOLS
    ]  # fmt: skip


def with_known(measured: Sequence[Example], model: str, folder: Path = FOLDER) -> list[Example]:
    """A run's examples, and the package's of kinds of prompts that the run lacks."""
    known = read_table(folder / f"{model}.json")
    kinds = {example.kind for example in measured}
    kept = [e for one in (known.kinds.values() if known else ()) for e in one.examples]
    return [*measured, *(example for example in kept if example.kind not in kinds)]


@dataclass(frozen=True)
class Trial:
    """An object, and what was expected of it without its subject; ``None``: it is like no other."""

    example: Example
    expected: Expected | None

    @property
    def covered(self) -> bool:
        return (
            self.expected is not None
            and self.expected.low <= self.example.dice <= self.expected.high
        )


def leave_out(examples: Sequence[Example]) -> list[Trial]:
    """Each subject's objects, expected from a table of the others alone."""
    found = []
    for subject in dict.fromkeys(e.subject for e in examples):
        table = learn([e for e in examples if e.subject != subject])
        own = (e for e in examples if e.subject == subject)
        found += [Trial(e, table.expect(e.values)) for e in own]
    return found


def summary(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Objects, subjects, refused, coverage by object and by subject, width, error, correlation."""
    told = [(t, t.expected) for t in trials if t.expected is not None]
    by: defaultdict[str, list[bool]] = defaultdict(list)
    for t, _ in told:
        by[t.example.subject].append(t.covered)
    width = float(np.median([e.high - e.low for _, e in told]))
    error = float(np.mean([abs(e.dice - t.example.dice) for t, e in told]))
    true, said = (np.array(v) for v in zip(*((t.example.dice, e.dice) for t, e in told)))  # noqa: B905
    return (
        str(len(trials)),
        str(len({t.example.subject for t in trials})),
        str(len(trials) - len(told)),
        f"{100 * np.mean([t.covered for t, _ in told]):.1f} %",
        f"{100 * np.mean([np.mean(v) for v in by.values()]):.1f} %",
        f"{width:.2f}",
        f"{error:.3f}",
        f"{np.corrcoef(logit(true), logit(said))[0, 1]:.2f}",
    )


def coverage_table(examples: Sequence[Example]) -> Table:
    """How often intervals hold, on subjects that were left out."""
    trials = {kind: leave_out([e for e in examples if e.kind == kind]) for kind in KINDS}
    lines = [(kind, *summary(found)) for kind, found in trials.items()]
    lines.append(("all", *summary([t for found in trials.values() for t in found])))
    columns = (
        "Prompts", "Objects", "Subjects", "Like none", "Coverage, objects", "Coverage, subjects",
        "Median width", "Mean error", "r (logits)",
    )  # fmt: skip
    caption = f"{100 * LEVEL:.0f} % intervals of Dice, each made without the subject it is for."
    return Table(columns, tuple(lines), caption=caption)


def measured_weights(run: Path, model: str) -> str:
    """The start of the hash of the weights that a run was made with, as its summary says."""
    facts = json.loads((run / "summary.json").read_text("utf-8"))["facts"]
    weights = (part.split() for part in facts["weights (SHA-256, start)"].split(", "))
    return dict(weights).get(model, "none")


def store(examples: Sequence[Example], model: str, run: Path, folder: Path = FOLDER) -> Path:
    """Put a table into a folder; it must be of the weights that are shipped, and small."""
    weights = registry.build(model).spec.weights_hash
    measured = measured_weights(run, model)
    if not weights.startswith(measured):
        sys.exit(f"{run} was made with the weights {measured}; those of {model} are {weights[:16]}")
    cases = len({e.case for e in examples})
    about = f"{cases} public cases, protocols A (jitter 0.05), B, B2; sammed {__version__}"
    content = json.dumps(table_of(model, weights, about, examples).as_json())
    text = content.replace("], [", "],\n[") + "\n"
    if len(text) > MOST_BYTES:
        sys.exit(f"the table has {len(text):,} bytes; expected at most {MOST_BYTES:,}")
    folder.mkdir(exist_ok=True)
    path = folder / f"{model}.json"
    path.write_text(text, encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.expectation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("factors", type=Path, help="factors.csv of `sammed evaluate --factors`")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--store", action="store_true", help="put the table into the package")
    asked = parser.parse_args(arguments)
    examples = with_known(examples_of(read_csv(asked.factors), asked.model), asked.model)
    print(coverage_table(examples).markdown())
    if asked.store:
        path = store(examples, asked.model, asked.factors.parent)
        print(f"\nwrote sammed/reporting/expected/{path.name}: {len(examples)} examples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
