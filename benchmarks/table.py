"""Results for people: the CSV, the table, the plot, and the table of docs/performance.md."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from textwrap import fill
from typing import Any

from sammed.evaluation.tables import Table

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
PROSE = 120
"""Columns of the manual's text."""

CSV_COLUMNS = (
    "name", "what", "against", "ratio", "unit", "target", "met", "exact", "dice", "note", "error"
)  # fmt: skip

Found = dict[str, Any]


def write(results: list[Found], folder: Path = RESULTS) -> None:
    """CSV of the values, JSON of everything, and the plot of growth."""
    folder.mkdir(exist_ok=True)
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as stream:
        stream.write("# " + machine_line(results) + "\n")
        writer = csv.DictWriter(stream, CSV_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(results)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for result in results:
        if "curves" in result:
            plot(result["curves"], folder / "growth.png")


def read(folder: Path = RESULTS) -> list[Found]:
    """The results of the last whole run."""
    results: list[Found] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results


def machine_line(results: list[Found]) -> str:
    """The machine on which they were measured, on one line."""
    machine: Found = next((r["machine"] for r in results if "machine" in r), {})
    return "; ".join(f"{key} {value}" for key, value in machine.items())


def markdown(results: list[Found]) -> str:
    """The table, the notes below it, and the machine."""
    columns = ("Row", "What", "Against", "Measured", "Target", "Met", "Same answer")
    lines = tuple(tuple(_cells(result)) for result in results)
    notes = [_wrapped(f"- `{r['name']}`: {r['note']}.", "  ") for r in results if r.get("note")]
    machine = _wrapped(f"Measured on: {machine_line(results)}.")
    return "\n\n".join([Table(columns, lines).markdown(), "\n".join(notes), machine])


def _wrapped(text: str, indent: str = "") -> str:
    """Prose as the manual has it."""
    return fill(text, PROSE, subsequent_indent=indent, break_on_hyphens=False)


def put(page: Path, text: str) -> None:
    """Put a text between the marks of a page.

    Raises
    ------
    ValueError
        If the page has no marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} ... {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}", encoding="utf-8")


def shown(value: float | None, unit: str) -> str:
    """A value with its unit."""
    if value is None:
        return ""
    if unit == "share":
        return f"{100 * value:.3g} %"
    return {"x": f"{value:.3g} ×", "ms": f"{value:.3g} ms"}.get(unit, f"{value:.4g}")


def _cells(result: Found) -> list[str]:
    unit = result.get("unit", "x")
    measured = shown(result.get("ratio"), unit) or result.get("error", "")
    least = {True: "met", False: "**missed**", None: ""}[result.get("met")]
    target = shown(result.get("target"), unit)
    return [
        f"`{result['name']}`",
        result["what"],
        result["against"],
        measured,
        target and ("≤ " if result.get("most") else "≥ ") + target,
        least,
        _sameness(result),
    ]


def _sameness(result: Found) -> str:
    if result.get("exact") is not None:
        return "yes" if result["exact"] else "NO"
    return f"Dice {result['dice']:.3f}" if "dice" in result else ""


def plot(curves: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Seconds over slices and over objects, one line of panels a model."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        len(curves), 2, figsize=(8, 2.8 * len(curves)), layout="constrained", squeeze=False
    )
    for line, (model, by) in zip(panels, curves.items(), strict=True):
        for axes, (label, points) in zip(line, by.items(), strict=True):
            counts = [int(count) for count in points]
            axes.plot(counts, list(points.values()), "o-")
            axes.set(xlabel=label, ylabel="s", title=model, xlim=(0, None), ylim=(0, None))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
