"""What the user is told, in words."""

from __future__ import annotations

import re

import slicer

from . import prompts, segmentation

_NODE_ID = re.compile(r"vtkMRML\w+Node\w*\d+")

DOUBTFUL = 0.7
"""Slices whose confidence or agreement is lower are marked."""


def sentence(text):
    """The text with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def kept(found):
    """What is said of corrections by hand; empty if there are none."""
    said = []
    if found.painted:
        slices = ", ".join(map(str, found.painted[:6])) + (", ..." if found.painted[6:] else "")
        word = "slice" if len(found.painted) == 1 else "slices"
        said.append(f"corrected by hand and kept: {word} {slices}")
    if found.cut:
        said.append(f"ends where you cut it: slices {found.first} to {found.last}")
    return sentence("; ".join(said)) if said else ""


def released(indices):
    """What is said of slices that are no longer kept."""
    if not indices:
        return "The object may go beyond the slices that were erased again."
    which = f"Slice {indices[0]} is" if len(indices) == 1 else f"All {len(indices)} slices are"
    return f"{which} no longer kept: press Segment to segment again."


def with_names(text):
    """A text with names of nodes and segments where it has their IDs."""
    for node_id in sorted(set(_NODE_ID.findall(text)), key=len, reverse=True):
        node = slicer.mrmlScene.GetNodeByID(node_id)
        if node is None:
            continue
        if node.IsA("vtkMRMLSegmentationNode"):
            for segment_id in segmentation.ids(node):
                name = node.GetSegmentation().GetSegment(segment_id).GetName()
                text = text.replace(f"{node_id}/{segment_id}", name)
        text = text.replace(node_id, node.GetName())
    return text


def summary(result, right=()):
    """What is said of a result; the slices ``right`` were taken as they are."""
    found = {line["index"] for line in result.run.get("slices", [])}
    slices, kept = len(found), len(found.intersection(right))
    if not slices:
        return "Nothing was found."
    if kept >= slices:
        return (
            f"Nothing was segmented: all {slices} slices are kept as they are. Release one, or "
            "all, to have them segmented again."
        )
    marked = sum(is_doubtful(line) for line in result.run["slices"])
    doubt = f"; {marked} of them marked for a look" if marked else ""
    held = (
        f", {_count(kept, 'slice')} kept as {'it is' if kept == 1 else 'they are'}" if kept else ""
    )
    return f"{_count(slices - kept, 'slice')} segmented{held}{doubt}."


def hint(workflow):
    """What to do next."""
    problem = workflow.problem()
    if workflow.engine.state == "cancelling":
        return "Cancelling..."
    if workflow.busy and workflow.shows_early:
        return "The slice is done; those that depend on it follow. You can go on working."
    if workflow.busy:
        return "Segmenting; you can go on working."
    role = workflow.placing.role
    if role == prompts.BOX:
        return "Draw the box: click two opposite corners in a slice view."
    if role is not None:
        where = "inside" if role == prompts.POSITIVE else "outside"
        return f"Click points {where} the object; press the button again to end."
    if problem:
        return problem
    run = workflow.history.run(workflow.key)
    if not run:
        return "Press Segment."
    if workflow.prompts_changed:
        return "Press Segment: what depends on the change is computed again."
    look = "Look through the slices"
    if any(is_doubtful(line) for line in run["slices"]):
        look += ", first at the marked ones below"
    return f"{look}. Fix one with any tool, or add a prompt, and press Segment again."


def progress(engine, most=0):
    """(done, total, text) for the progress bar; a total of 0 means that it is not known.

    ``most`` is how many slices there are at all.
    """
    if engine.state == "starting":
        return 0, 0, "starting the engine"
    told = engine.progress
    if told is None:
        return 0, 0, "preparing"
    done, total, left = told["done"], told["total"] or 0, told["seconds_left"]
    if not total:
        text = f"{_count(done, 'slice')} done"
        if most > done and told.get("seconds_per_slice"):
            text += f", at most {_time((most - done) * told['seconds_per_slice'])} left"
        return 0, 0, text
    text = f"slice {done} of {total}"
    if left is not None:
        text += f", {_time(left)} left"
    return done, total, text


def prompts_short(node, segment_id):
    """The prompts of a segment in a few characters."""
    boxes, inside, outside = prompts.count(node, segment_id)
    _, right = prompts.right_slices(node, segment_id)
    said = [
        f"{number}{sign}"
        for number, sign in ((boxes, "□"), (inside, "+"), (outside, "−"), (len(right), "✓"))
        if number
    ]
    return " ".join(said)


def prompts_long(node, segment_id):
    """The prompts of a segment in words."""
    boxes, inside, outside = prompts.count(node, segment_id)
    _, right = prompts.right_slices(node, segment_id)
    said = []
    if boxes:
        said.append(_count(boxes, "box", "boxes"))
    if inside or outside:
        said.append(f"{_count(inside + outside, 'point')} ({inside} +, {outside} −)")
    if right:
        shown = ", ".join(map(str, right[:4])) + ("..." if right[4:] else "")
        said.append(f"kept: {shown}")
    if prompts.ends(node, segment_id):
        _, low, high = prompts.ends(node, segment_id)
        said.append(f"ends: {low} to {high - 1}")
    return "; ".join(said) if said else "No prompts yet"


def stops(run):
    """Where and why the engine stopped, one line each."""
    lines = [f"Slice {s['index']}: {s['text']}." for s in run["stops"]]
    return "\n".join(lines) if lines else "Segmented on the prompted slices only."


def quality(line):
    """The cells of a line of the quality table."""
    return (
        str(line["index"]),
        f"{line['area_mm2']:.0f} mm²",
        _percent(line["predicted_iou"]),
        _percent(line["neighbour_iou"]),
        line["prompt"] + (f", try {line['retries'] + 1}" if line["retries"] else ""),
    )


def is_doubtful(line):
    """Whether a slice deserves a look."""
    values = (line["predicted_iou"], line["neighbour_iou"])
    return any(value is not None and value < DOUBTFUL for value in values)


def engine_state(engine):
    """What the engine does, and which."""
    version = f" (sammed {engine.hello['sammed']})" if engine.hello else ""
    words = {
        "off": "not started; starts with the first prompt",
        "starting": "starting",
        "ready": "ready",
        "busy": "working",
        "cancelling": "cancelling",
        "failed": "stopped by an error" if not engine.hello else "ready; the last request failed",
    }
    return words[engine.state] + version


def _time(seconds):
    return f"{max(seconds, 1):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _count(number, word, plural=None):
    return f"{number} {word if number == 1 else plural or word + 's'}"


def _percent(value):
    return "" if value is None else f"{100 * value:.0f} %"
