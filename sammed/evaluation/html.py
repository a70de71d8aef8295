"""The report: one HTML file that opens offline, with everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from sammed.evaluation import tables
from sammed.evaluation.choice import choice_table
from sammed.evaluation.failures import Failing
from sammed.evaluation.figures import Drawing
from sammed.evaluation.metrics import FAILURE_DICE
from sammed.evaluation.pictures import PREDICTION_COLOUR, REFERENCE_COLOUR, Picture
from sammed.evaluation.protocols import TITLES
from sammed.evaluation.reliability import reliability_table
from sammed.evaluation.results import Row
from sammed.evaluation.tables import Results, Table


@dataclass(frozen=True)
class Gallery:
    """Pictures of one model under one protocol."""

    title: str
    worst: Sequence[Picture]
    typical: Sequence[Picture]


@dataclass(frozen=True)
class Background:
    """What a reader must know of a run.

    Attributes
    ----------
    facts
        Name and value, for the table at the end: versions, hardware, settings.
    prompts
        Where prompts came from, one sentence for each source with its number of cases.
    from_scored_label
        Whether any came from the label that is scored.
    left_out
        Which models had no part in a protocol, and why.
    tolerance_mm
        Of NSD.
    galleries, figures
        What is drawn.
    failing
        Where and why each model fails, where factors were measured.
    """

    facts: dict[str, str]
    prompts: tuple[str, ...]
    from_scored_label: bool
    left_out: tuple[str, ...] = ()
    tolerance_mm: float = 2.0
    galleries: Sequence[Gallery] = field(default_factory=tuple)
    figures: Sequence[Drawing] = field(default_factory=tuple)
    failing: Sequence[Failing] = field(default_factory=tuple)


DESCRIPTIONS = {
    "A": "The tight box of each 8-connected component on every slice of the reference, each side "
    "moved by up to the stated share of the box's extent (uniform). Nothing is propagated. That "
    "the object is on a slice, and in how many pieces, is told by the reference (SAM.MD, Roy et "
    "al. 2023, arXiv:2304.05396).",
    "B": "The tight 3D box of the reference; its outline starts the middle slice, its range in z "
    "is a hard limit (as in the CVPR 2024 challenge “Segment Anything in Medical Images on "
    "Laptop”).",
    "B2": "One tight 2D box on the slice where the reference is largest. No range in z: where the "
    "object ends is the engine's own decision.",
    "C": "As B, then up to five clicks, each in the middle (in mm) of the largest connected error "
    "(as in the CVPR 2025 interactive challenge). Only what a click makes stale is computed again.",
    "D": "As B, on disturbed images: stored in another of the 48 axis orders (must change "
    "nothing), slices averaged two and three at a time, window moved by 10 % of its width, "
    "Gaussian noise of 5 % of the window's width. Scores are taken on the undisturbed grid.",
    "P": "Random points inside the reference on every slice that shows it; nothing is propagated.",
    "S": "A stroke on the slice where the reference is largest, and no box: a line through it, "
    "along its middle, or along its border a little inside, by an unsteady hand (as in "
    "ScribblePrompt, Wong et al. 2024, arXiv:2312.07381); then two of the same kind on the largest "
    "error. Beside them five clicks, the first in the middle of that slice.",
    "X": "No prompt: labelled scans of other people explain this one. copied: the first one's "
    "labels, middle on middle; affine: after an affine alignment.",
    "N": "No prompt: the model finds by itself what it was taught under the object's name. What it "
    "learned from must not be among the cases.",
}

METHODS = """
<p>A score is averaged over the seeds of an object, then over the objects of a case, then over
cases. Intervals are 95 % percentile bootstrap intervals of that mean; subjects are resampled with
all their cases. SD is the standard deviation over cases. Differences are paired by object; p is
the two-sided Wilcoxon signed-rank test over subjects.</p>
<dl>
<dt>Dice, IoU</dt><dd>Of voxels. Both masks empty: 1. One empty: 0.</dd>
<dt>NSD</dt><dd>Normalised surface Dice at {tolerance:g} mm with true spacing: the share of both
surfaces, by area, that lies within the tolerance of the other (Nikolov et al. 2021,
doi:10.2196/26151). Both empty: 1. One empty: 0.</dd>
<dt>HD95, MSD</dt><dd>In mm with true spacing: the larger of the two directed 95th percentiles of
surface distance, and the mean over both surfaces; elements weigh by their area. Both empty: 0. One
empty: undefined and left out of the mean; see the column “missed”.</dd>
<dt>Sens., Prec.</dt><dd>Shares of the reference that was found and of the prediction that is
right. Without a denominator: undefined and left out.</dd>
<dt>Baselines</dt><dd><i>box</i>: the whole box is the object; <i>ellipse</i>: the ellipse inscribed
in it; <i>two_class</i>: the intensities of the box's middle against those round it. They run
through the same engine, and show what a score is worth.</dd>
</dl>
"""


RELIABILITY = """
<p>Does a model know where it is wrong? The IoU that the engine reports of a slice, against that of
the result with the reference on this slice, over the slices of all objects together. A slice that
the engine does not report has no prediction and is not counted, nor is one on which result and
reference are both empty. Every slice is in slices.csv.</p>
"""


def page(results: Results, background: Background, title: str = "Evaluation") -> str:
    """The whole report as HTML text.

    Parameters
    ----------
    results
        Of the run.
    background
        What a reader must know of it, with figures and pictures.
    title
        Head of the page.
    """
    cases = {row.case for row in results.rows}
    objects = {(row.case, row.object) for row in results.rows if row.scored}
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">{len(objects)} objects in {len(cases)} cases; models '
        f"{escape(', '.join(results.models))}; sammed {escape(background.facts['sammed'])}</p>",
        _prompts_notice(background),
        _table(tables.overview(results)),
        f"<p>{escape('. '.join(background.left_out))}.</p>" if background.left_out else "",
    ]
    if background.figures:
        body.append("<h2>Figures</h2>")
        body += map(_figure, background.figures)
    for protocol in results.protocols:
        body += _protocol(results, protocol)
    body += _reliability(results)
    body += _pictures(background.galleries)
    for failing in background.failing:
        body += _failing(failing)
    body += _failures(results)
    chosen = choice_table(results)
    if chosen is not None:
        body += ["<h2>Which model to take</h2>", _table(chosen)]
    body += ["<h2>Time and memory</h2>", _table(tables.cost_table(results))]
    body += ["<h2>Methods</h2>", METHODS.format(tolerance=background.tolerance_mm)]
    body += ["<h2>This run</h2>", _facts(background.facts)]
    return _document(title, body)


def labels_page(table: Table, facts: dict[str, str], tolerance_mm: float, title: str) -> str:
    """Report on two label maps: their scores and how they are defined."""
    body = [
        f"<h1>{escape(title)}</h1>",
        '<div class="notice"><p><b>Prompts.</b> Two label maps were given; from which prompts the '
        "prediction came is not known here.</p></div>",
        _table(table),
        "<h2>Methods</h2>",
        METHODS.format(tolerance=tolerance_mm),
        "<h2>This run</h2>",
        _facts(facts),
    ]
    return _document(title, body)


LOOP = """
<p>Protocol L: a simulated person labels cases in rounds; after each, what was accepted is learned
from, and the rest is proposed. The person throws a bad proposal away for a 3D box, clicks where the
error is largest, and paints slices once clicks do not help, until the Dice is as wanted. What they
leave is what is learned from. "No loop" is the same person with compact as it is shipped. "By
chance" learned for as long from as many cases by chance, labelled perfectly.
Seconds are assumed for each prompt, not measured on people.</p>
"""


def loop_page(
    found: Sequence[Table], figures: Sequence[Drawing], facts: dict[str, str], title: str
) -> str:
    """Report on a simulated labelling loop: its tables and curves, and how it was simulated."""
    body = [f"<h1>{escape(title)}</h1>", LOOP, *map(_table, found), *map(_figure, figures)]
    body += ["<h2>This run</h2>", _facts(facts)]
    return _document(title, body)


def study_page(
    methods: str,
    found: Sequence[Table],
    figures: Sequence[Drawing],
    facts: dict[str, str],
    errors: Sequence[str],
    title: str,
) -> str:
    """Report on a study: its tables and curves, and how it was made."""
    body = [f"<h1>{escape(title)}</h1>", f"<p>{escape(methods)}</p>"]
    body += [*map(_table, found), *map(_figure, figures)]
    if errors:
        body += ["<h2>Errors</h2>", *(f"<p>{escape(line)}</p>" for line in errors)]
    body += ["<h2>This run</h2>", _facts(facts)]
    return _document(title, body)


def _document(title: str, body: Sequence[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _figure(drawing: Drawing) -> str:
    kind = ' class="narrow"' if drawing.narrow else ""
    caption = f"<figcaption>{escape(drawing.caption)}</figcaption>"
    return f"<figure{kind}>{drawing.svg}{caption}</figure>"


def _style() -> str:
    return Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def _prompts_notice(background: Background) -> str:
    lines = [f"<p><b>Prompts.</b> {escape(' '.join(background.prompts))}</p>"]
    if background.from_scored_label:
        lines.append(
            "<p>Prompts taken from the label that is scored know the object's true extent: expect "
            "lower scores with boxes drawn by hand. Read the rung of protocol A with the jitter of "
            "your own hand, and the baselines, beside every number.</p>"
        )
    return f'<div class="notice">{"".join(lines)}</div>'


def _protocol(results: Results, protocol: str) -> list[str]:
    body = [
        f"<h2>{protocol}. {escape(TITLES[protocol])}</h2>",
        f"<p>{escape(DESCRIPTIONS[protocol])}</p>",
        _table(tables.protocol_table(results, protocol)),
    ]
    if protocol == "D":
        body.append(_table(tables.disturbance_table(results)))
    ladder = tables.ladder_table(results, protocol)
    if ladder:
        body.append(_table(ladder))
    differences = tables.difference_table(results, protocol)
    if differences:
        body.append(_table(differences))
    if len({row.area for row in results.rows}) > 1:
        body.append(_table(tables.area_table(results, protocol)))
    inside = _table(tables.object_table(results, protocol))
    body.append(f"<details><summary>Every object</summary>{inside}</details>")
    return body


def _reliability(results: Results) -> list[str]:
    table = reliability_table(results)
    return ["<h2>Predicted and true IoU</h2>", RELIABILITY, _table(table)] if table else []


FACTORS = """
<p>Factors are measured of the reference: its size and shape, and the image at its border. Their
effect is that of each with all others being the same, in a ridge regression over objects (slices)
whose intervals resample subjects. It says what goes along with a low Dice in this cohort, not what
would happen if a factor were changed. Every factor of every object is in factors.csv, of every
slice in factors_slices.csv.</p>
"""


def _failing(failing: Failing) -> list[str]:
    body = [f"<h2>Where and why {escape(failing.model)} fails</h2>", FACTORS]
    if failing.analysis.reasons:
        body.append(f"<p>{escape(' '.join(failing.analysis.reasons))}</p>")
    body += map(_figure, failing.figures)
    body += map(_table, failing.tables)
    if failing.worst:
        body.append("<h3>The worst of each kind</h3>")
        body.append(
            "<p>Of the fifth of the objects that is the hardest in one way, the one with the "
            "lowest Dice, and in which ways it is among the hardest.</p>"
        )
        body.append(f'<div class="gallery">{"".join(map(_picture, failing.worst))}</div>')
    return body


def _pictures(galleries: Sequence[Gallery]) -> list[str]:
    if not galleries:
        return []
    body = [
        "<h2>Pictures</h2>",
        "<p>The slice of each object with the largest error, at most two objects of a case. "
        f'<span class="key" style="background:{REFERENCE_COLOUR}"></span>reference '
        f'<span class="key" style="background:{PREDICTION_COLOUR}"></span>prediction</p>',
    ]
    for gallery in galleries:
        for name, pictures in (("worst", gallery.worst), ("round the median", gallery.typical)):
            if pictures:
                body.append(f"<h3>{escape(gallery.title)}: {name}</h3>")
                body.append(f'<div class="gallery">{"".join(map(_picture, pictures))}</div>')
    return body


def _picture(picture: Picture) -> str:
    return (
        f'<figure><img alt="{escape(picture.title)}" '
        f'src="data:image/png;base64,{picture.png}"><figcaption>{escape(picture.title)}<br>'
        f"{escape(picture.note)}</figcaption></figure>"
    )


def _failures(results: Results) -> list[str]:
    body = ["<h2>Failures and errors</h2>"]
    failed = [
        r
        for p in results.protocols
        for m in results.models
        if (g := results.headline(p, m)) is not None and not g.is_baseline
        for r in g.failures
    ]
    body.append(
        _rows_table(f"Objects with Dice below {FAILURE_DICE:g}, baselines left out.", failed)
        if failed
        else f"<p>No object has a Dice below {FAILURE_DICE:g} (baselines left out).</p>"
    )
    unscored = [r for r in results.rows if not r.scored]
    if unscored:
        body.append(_rows_table("Objects that could not be scored.", unscored))
    broken = {(part.case, part.error) for part in results.parts if part.error}
    if broken:
        lines = tuple(sorted(broken))
        body.append(_table(Table(("Case", "Error"), lines, caption="Cases that could not be run.")))
    if not unscored and not broken:
        body.append("<p>Every case was read and every object was scored.</p>")
    return body


def _rows_table(caption: str, rows: Sequence[Row]) -> str:
    columns = ("Model", "Protocol", "Case", "Object", "Dice", "What the engine said")
    lines = tuple(
        (
            r.model,
            f"{r.protocol} {r.variant}".strip(),
            r.case,
            r.object,
            tables.number(r.dice),
            r.error or r.stops,
        )
        for r in rows
    )
    return _table(Table(columns, lines, caption=caption))


def _facts(facts: dict[str, str]) -> str:
    return _table(Table(("What", "Value"), tuple(facts.items())))


LONG = 60
"""Cells longer than this wrap and are aligned left."""


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(c)}</th>" for c in table.columns)
    faint = table.faint or (False,) * len(table.lines)
    body = "".join(
        ('<tr class="faint">' if pale else "<tr>") + "".join(map(_cell, line)) + "</tr>"
        for line, pale in zip(table.lines, faint, strict=True)
    )
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    kind = ' class="wrap"' if len(text) > LONG else ""
    return f"<td{kind}>{escape(text)}</td>"
