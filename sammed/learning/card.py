"""The model card that goes with a learned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sammed.models.learned.file import Teaching


def model_card(teaching: Teaching) -> str:
    """What a model is, where it comes from and how far it can be trusted, as Markdown.

    Parameters
    ----------
    teaching
        What it was taught.
    """
    about = teaching.about
    named = ", ".join(f"{name} ({value})" for value, name in teaching.plan.structures.items())
    lines = [
        f"# {teaching.name}",
        "",
        "A segmenter that needs no prompt, learned from a user's own cases. Not a medical device.",
        "",
        f"- finds: {named}",
        f"- learned from {len(teaching.cases)} cases: {', '.join(teaching.cases)}",
        f"- round {about['round']}, {about['when']}, {about['seconds']:.0f} s, seed "
        f"{about['seed']}, sammed {about['sammed']}",
        f"- looks: {'; '.join(_look(look) for look in teaching.plan.as_dict()['looks'])}",
        "",
        *reached_lines(teaching.judged, bool(about["rehearsed"])),
        "",
        "It was judged on scans such as those that it learned from, and on no others: other "
        "scanners, protocols, ages or diseases may look different to it.",
    ]
    return "\n".join(lines) + "\n"


def reached_lines(judged: Mapping[str, Any], rehearsed: bool) -> list[str]:
    """What was reached on held-back cases, a line a structure.

    Parameters
    ----------
    judged
        See `sammed.learning.judging.summary`.
    rehearsed
        Whether it was a rehearsal that was judged.
    """
    if not judged:
        return ["No case was held back: how good it is, nobody knows. Accept a second person."]
    mean = judged["mean"]
    people = f"{mean['subjects']} {'person' if mean['subjects'] == 1 else 'people'}"
    how = " by a shorter run that had not seen them" if rehearsed else ""
    lines = [f"Dice on {mean['cases']} held-back cases of {people}{how}:"]
    lines += [f"- {name}: {_figure(one)}" for name, one in judged["structures"].items()]
    return [*lines, f"- mean: {_figure(mean)}"]


def _figure(one: Mapping[str, Any]) -> str:
    interval = "" if one["low"] is None else f" ({one['low']:.3f} to {one['high']:.3f})"
    return f"{one['dice']:.3f}{interval}"


def _look(look: Mapping[str, Any]) -> str:
    size = " × ".join(str(n) for n in look["patch"])
    mm = " × ".join(f"{one:.3g}" if one else "own" for one in look["spacing"])
    return f"patches of {size} samples, {mm} mm"
