"""What the user is told, in words; US English, translated where Slicer has a translation."""

from __future__ import annotations

import re

import slicer
from slicer.i18n import tr as _

from . import errands, prompts, segmentation

DOUBTFUL = 0.7
"""Slices of which the model is less certain, or that fit their neighbor less, are marked."""

_NODE_ID = re.compile(r"vtkMRML\w+Node\w*\d+")

_DRAWING = {
    prompts.BOX: "Drag a box around the organ in a slice view. Esc puts the tool away.",
    prompts.POSITIVE: "Click on what belongs to the organ. Esc puts the tool away.",
    prompts.NEGATIVE: "Click on what does not belong to the organ. Esc puts the tool away.",
    prompts.SCRIBBLE: "Draw a line over the organ; with Ctrl, over what does not belong to it.",
    prompts.LASSO: "Draw around a part of the organ; with Ctrl, around what does not belong to it.",
}


def sentence(text):
    """The text with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def kept(found):
    """What is said of corrections by hand; empty if there are none."""
    said = []
    if found.painted:
        slices = ", ".join(map(str, found.painted[:6])) + (", ..." if found.painted[6:] else "")
        words = _("corrected by hand and kept: slice {slices}")
        if len(found.painted) > 1:
            words = _("corrected by hand and kept: slices {slices}")
        said.append(words.format(slices=slices))
    if found.cut:
        words = _("ends where you cut it: slices {first} to {last}")
        said.append(words.format(first=found.first, last=found.last))
    return sentence("; ".join(said)) if said else ""


def released(indices):
    """What is said of slices that are no longer kept."""
    if not indices:
        return _("The organ may go beyond the slices that were erased again.")
    if len(indices) == 1:
        return _("Slice {index} is no longer kept: press Segment to segment again.").format(
            index=indices[0]
        )
    return _("All {count} slices are no longer kept: press Segment to segment again.").format(
        count=len(indices)
    )


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
    slices, kept_as_is = len(found), len(found.intersection(right))
    if not slices:
        return _("Nothing was found.")
    if kept_as_is >= slices:
        return _(
            "Nothing was segmented: all {count} slices are kept as they are. Release one, or all, "
            "to have them segmented again."
        ).format(count=slices)
    said = [_("{slices} segmented").format(slices=_slices(slices - kept_as_is))]
    if kept_as_is:
        said.append(_("{slices} kept").format(slices=_slices(kept_as_is)))
    marked = doubtful(result.run)
    if marked:
        said.append(_("{count} to be checked (press N)").format(count=len(marked)))
    return f"{', '.join(said)}. {answered(result.run)}".rstrip()


def answered(run):
    """Whose answer a run is, of a segment that is called as something that was learned."""
    _model, name = run.get("asked", ("", ""))
    if not name:
        return ""
    words = _("Answered by what was learned of {name}.")
    if not run.get("structure"):
        words = _("What was learned of {name} has no answer to this: the untuned network answered.")
    return words.format(name=name)


def learned(workflow):
    """Whether what was learned answers for the chosen segment; empty if it has no part in it."""
    run = workflow.history.run(workflow.key)
    said = answered(run) if run and not workflow.is_behind else ""
    if said or not workflow.structure:
        return said
    words = _("{name} was learned: Segment asks what was learned of it first.")
    return words.format(name=workflow.structure)


def hint(workflow):
    """What to do next."""
    if workflow.engine.state == "cancelling":
        return _("Cancelling...")
    if workflow.busy:
        return _busy_with(workflow)
    if workflow.placing.role is not None:
        return _(_DRAWING[workflow.placing.role])
    problem = workflow.problem()
    if problem and workflow.volume is not None and workflow.key is None:
        words = _("Press Box and drag a box around the organ or lesion in a slice view.")
        if workflow.is_learned:
            words = _("Press Find learned, or press Box and drag a box in a slice view.")
        return workflow.problem_of_volume() or words
    if problem:
        return problem
    run = workflow.history.run(workflow.key)
    if not run:
        return _("Press Segment.")
    if workflow.is_behind:
        return _("Press Segment: what depends on the change is computed again.")
    if doubtful(run):
        return _(
            "Look through the slices, first at the marked ones (N). Correct one with any tool, or "
            "add a prompt, and press Segment again."
        )
    return _(
        "Look through the slices. Correct one with any tool, or add a prompt, and press Segment "
        "again."
    )


def _busy_with(workflow):
    """What is done while the user can go on working."""
    if workflow.errand:
        return {
            errands.TAKE: _("Looking at what other scans show; you can go on working."),
            errands.LEARNED: _("Looking for what was learned; you can go on working."),
            errands.FOLLOW: _("Comparing with the earlier scan; you can go on working."),
            errands.PROPOSE: _("Looking for things that stand out; you can go on working."),
        }[workflow.errand]
    if workflow.shows_early:
        return _("The slice is done; those that depend on it follow. You can go on working.")
    return _("Segmenting; you can go on working.")


def _steps_of(errand, told):
    """What an errand is at, in words."""
    if errand == errands.PROPOSE:
        known = {
            "looking at the image": _("looking at the image"),
            "candidates": _("looking for candidates"),
            "asking": _("asking the model: {done} of {total}"),
            "looking again": _("looking again: {done} of {total}"),
        }
        words = known.get(told["object"], _("looking at the image"))
    else:
        known = {
            errands.TAKE: _("laying the other scan on this one: step {done} of {total}"),
            errands.LEARNED: _("looking for what was learned: step {done} of {total}"),
            errands.FOLLOW: _("looking for each lesion: step {done} of {total}"),
        }
        reading = {errands.LEARNED: _("reading the volume")}
        words = known[errand] if told["total"] else reading.get(errand, _("reading the other scan"))
    text = words.format(done=told["done"], total=told["total"])
    left = told.get("seconds_left")
    return text if left is None else _("{text}, {time} left").format(text=text, time=_time(left))


def progress(engine, most=0, errand=""):
    """(done, total, text) for the progress bar; a total of 0 means that it is not known.

    ``most`` is how many slices there are at all; ``errand`` what is done instead of segmenting.
    """
    if engine.state == "starting":
        return 0, 0, _("starting the engine")
    told = engine.progress
    if told is None:
        return 0, 0, _("preparing")
    if errand:
        return told["done"], told["total"] or 0, _steps_of(errand, told)
    if told.get("text"):  # no slices: a channel is brought onto the volume's grid
        text = _("aligning the channel {name}").format(name=repr(told["object"]))
        return told["done"], told["total"], text
    done, total, left = told["done"], told["total"] or 0, told["seconds_left"]
    if not total:
        text = _("{slices} done").format(slices=_slices(done))
        if most > done and told.get("seconds_per_slice"):
            seconds = (most - done) * told["seconds_per_slice"]
            text = _("{text}, at most {time} left").format(text=text, time=_time(seconds))
        return 0, 0, text
    text = _("slice {done} of {total}").format(done=done, total=total)
    if left is not None:
        text = _("{text}, {time} left").format(text=text, time=_time(left))
    return done, total, text


def prompts_long(node, segment_id):
    """The prompts of a segment in words."""
    boxes, inside, outside = prompts.count(node, segment_id)
    scribbles, lassos = prompts.count_strokes(node, segment_id)
    said = []
    for number, one, many in (
        (boxes, _("1 box"), _("{n} boxes")),
        (inside, _("1 point inside"), _("{n} points inside")),
        (outside, _("1 point outside"), _("{n} points outside")),
        (scribbles, _("1 scribble"), _("{n} scribbles")),
        (lassos, _("1 lasso"), _("{n} lassos")),
    ):
        if number:
            said.append(one if number == 1 else many.format(n=number))
    return ", ".join(said) if said else _("Nothing drawn yet")


def kept_slices(node, segment_id):
    """Which slices are kept as they are, in words."""
    right = prompts.right_slices(node, segment_id)[1]
    said = []
    if right:
        shown = ", ".join(map(str, right[:5])) + (", ..." if right[5:] else "")
        said.append(_("Kept as is: {count} ({slices})").format(count=len(right), slices=shown))
    if prompts.ends(node, segment_id):
        _axis, low, high = prompts.ends(node, segment_id)
        said.append(_("Ends at {low} and {high}").format(low=low, high=high - 1))
    return "; ".join(said) if said else _("No slice is kept as is")


def _ends():
    """Why the engine stopped, by the reason that it gives in one word."""
    return {
        "empty": _("nothing of the organ was found on the next slice"),
        "absent": _("the organ is not on the next slice"),
        "small": _("the organ has become very small"),
        "unsure": _("it became too uncertain"),
        "changed": _("the brightness changed too much for the same organ"),
        "grown": _("the outline grew too much for the same organ"),
        "moved": _("the outline moved too far for the same organ"),
    }


def stops(run):
    """Why the engine stopped at either end, a line each."""
    known = _ends()
    if run.get("found") is not None:
        return ""
    lines = [
        _("Ends at slice {index}: {why}.").format(
            index=stop["index"], why=known.get(stop["reason"], stop["text"])
        )
        for stop in run["stops"]
    ]
    return "\n".join(lines) if lines else _("Segmented on the slices with prompts only.")


def _source(name):
    """What a slice was segmented from; the engine's own words are a sum of these."""
    words = {
        "box": _("box"),
        "mask": _("slice beside it"),
        "points": _("points"),
        "memory": _("slices before"),
    }
    return ", ".join(words.get(part, part) for part in name.split(" + "))


def quality(line):
    """The cells of a line of the table of slices."""
    source = _source(line["prompt"])
    if line["retries"]:
        source = _("{source}, try {number}").format(source=source, number=line["retries"] + 1)
    return (
        str(line["index"]),
        f"{line['area_mm2'] / 100:.1f} cm²",
        _percent(line["predicted_iou"]),
        _percent(line["neighbour_iou"]),
        source,
    )


def is_doubtful(line):
    """Whether a slice deserves a look."""
    values = (line["predicted_iou"], line["neighbour_iou"])
    return any(value is not None and value < DOUBTFUL for value in values)


def doubtful(run):
    """The lines of a run that deserve a look, in the order of the slices."""
    return [line for line in run["slices"] if is_doubtful(line)] if run else []


def engine_state(engine):
    """What the engine does, and which."""
    words = {
        "off": _("not started; starts with the first prompt"),
        "starting": _("starting"),
        "ready": _("ready"),
        "busy": _("working"),
        "cancelling": _("cancelling"),
        "failed": _("ready; the last request failed") if engine.hello else _("stopped by an error"),
    }
    version = f" (sammed {engine.hello['sammed']})" if engine.hello else ""
    return words[engine.state] + version


def size(number):
    """Bytes in words."""
    return f"{number / 1e9:.1f} GB" if number > 1e9 else f"{number / 1e6:.0f} MB"


def _time(seconds):
    if seconds < 90:
        return _("{n} s").format(n=f"{max(seconds, 1):.0f}")
    return _("{n} min").format(n=f"{seconds / 60:.0f}")


def _slices(number):
    return _("1 slice") if number == 1 else _("{n} slices").format(n=number)


def _percent(value):
    return "" if value is None else f"{100 * value:.0f} %"
