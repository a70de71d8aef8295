"""The model card that goes with a learned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sammed.learning.prompted import SHIPPED
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
    looks = teaching.plan.as_dict()["looks"]
    lines = [
        f"# {teaching.name}",
        "",
        "Learned from a user's own cases. Not a medical device.",
        "",
        f"- round {about['round']}, {about['when']}, {about['seconds']:.0f} s, seed "
        f"{about['seed']}, sammed {about['sammed']}",
        "",
        *(_segmenter_lines(teaching, named) if looks else ()),
        *(_tuned_lines(teaching.tuned) if teaching.tuned else ()),
        "It was judged on scans such as those that it learned from, and on no others: other "
        "scanners, protocols, ages or diseases may look different to it.",
    ]
    return "\n".join(lines) + "\n"


def _segmenter_lines(teaching: Teaching, named: str) -> list[str]:
    looks = teaching.plan.as_dict()["looks"]
    return [
        "## Without a prompt",
        "",
        f"- finds: {named}",
        f"- learned from {len(teaching.cases)} cases: {', '.join(teaching.cases)}",
        f"- looks: {'; '.join(_look(look) for look in looks)}",
        *_began_line(teaching),
        *_single_line(teaching),
        "",
        *reached_lines(teaching.judged, bool(teaching.about["rehearsed"])),
        "",
    ]


def _began_line(teaching: Teaching) -> list[str]:
    began = teaching.about.get("began", ())
    words = f"features of synthetic scenes ({', '.join(began)})" if began else "random weights"
    return [f"- began with: {words}"]


def _single_line(teaching: Teaching) -> list[str]:
    plan = teaching.plan
    names = [plan.structures[value] for value in plan.single]
    return [f"- one piece each, what lies apart is left out: {', '.join(names)}"] if names else []


def _tuned_lines(tuned: Mapping[str, Any]) -> list[str]:
    return [
        "## From prompts",
        "",
        f"- {_tuned_what(tuned)}, tuned on {len(tuned['cases'])} cases: "
        f"{', '.join(tuned['cases'])}",
        f"- round {tuned['round']}, {tuned['when']}",
        f"- left to {_parent(tuned['judged'])}: {', '.join(tuned['worse']) or 'nothing'}",
        "",
        *gained_lines(tuned["judged"], bool(tuned["rehearsed"])),
        "",
    ]


def _tuned_what(tuned: Mapping[str, Any]) -> str:
    """Which networks changed, in words."""
    if "of" not in tuned:
        return "compact"
    checkpoint = f"{tuned['of']} (SHA-256 {tuned['parents']['checkpoint'][:12]})"
    branches = f", and LoRA of rank {tuned['rank']} in its encoder" if tuned["rank"] else ""
    return f"the mask decoder of {checkpoint}{branches}"


def _parent(gained: Mapping[str, Any]) -> str:
    return str(gained.get("parent", SHIPPED))


def gained_lines(gained: Mapping[str, Any], rehearsed: bool) -> list[str]:
    """What tuning gained on held-back cases, a line a structure.

    Parameters
    ----------
    gained
        See `sammed.learning.prompted.gains`.
    rehearsed
        Whether it was a rehearsal that was judged.
    """
    if not gained:
        return ["No case was held back: whether a box goes further now, nobody knows."]
    mean = gained["mean"]
    head = f"Dice from {gained.get('asked', 'one 3D box')} on {_held(mean, rehearsed)}:"
    parent = _parent(gained)
    lines = [f"- {name}: {_gained(one, parent)}" for name, one in gained["structures"].items()]
    return [head, *lines, f"- mean: {_gained(mean, parent)}"]


def _gained(one: Mapping[str, Any], parent: str) -> str:
    interval = "" if one["low"] is None else f" ({one['low']:+.3f} to {one['high']:+.3f})"
    left = f"; left to {parent}" if one["difference"] < 0 else ""
    return f"{one['before']:.3f} to {one['after']:.3f}, {one['difference']:+.3f}{interval}{left}"


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
    lines = [f"Dice on {_held(mean, rehearsed)}:"]
    lines += [f"- {name}: {_figure(one)}" for name, one in judged["structures"].items()]
    return [*lines, f"- mean: {_figure(mean)}"]


def _held(mean: Mapping[str, Any], rehearsed: bool) -> str:
    """The cases that something was judged on, in words."""
    how = " by a shorter run that had not seen them" if rehearsed else ""
    people = f"{mean['subjects']} {'person' if mean['subjects'] == 1 else 'people'}"
    cases = f"{mean['cases']} held-back {'case' if mean['cases'] == 1 else 'cases'}"
    return f"{cases} of {people}{how}"


def _figure(one: Mapping[str, Any]) -> str:
    interval = "" if one["low"] is None else f" ({one['low']:.3f} to {one['high']:.3f})"
    return f"{one['dice']:.3f}{interval}"


def _look(look: Mapping[str, Any]) -> str:
    size = " × ".join(str(n) for n in look["patch"])
    mm = " × ".join(f"{one:.3g}" if one else "own" for one in look["spacing"])
    return f"patches of {size} samples, {mm} mm"
