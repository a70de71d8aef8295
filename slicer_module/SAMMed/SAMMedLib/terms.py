"""Terminology: what a segment's name means in codes, by the table of the engine's package."""

from __future__ import annotations

import csv
import functools
import os
import re

from . import prompts

_CONTEXT = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"
_CATEGORIES = {
    "anatomical": "SCT^123037004^Anatomical Structure",
    "abnormal": "SCT^49755003^Morphologically Altered Structure",
    "tissue": "SCT^85756007^Tissue",
    "substance": "SCT^91720002^Body Substance",
    "object": "SCT^260787004^Physical object",
}
_LEFT, _RIGHT = "SCT^7771000^Left", "SCT^24028007^Right"
_SIDES = {"left": _LEFT, "lt": _LEFT, "l": _LEFT, "right": _RIGHT, "rt": _RIGHT, "r": _RIGHT}
_LINKS = {"of", "the", "in"}
_NONE = "^^"


def entry(name):
    """Slicer's terminology entry of names such as ``"left kidney"``; empty if it is not known."""
    words = _words(name)
    whole = _find(words)  # "left ventricle" is one thing: the side belongs to the name
    if whole:
        return _text(whole)
    side, rest = _take_side(words)
    for candidate in (rest, rest[:-1] if rest and rest[-1].isdigit() else []):
        found = _find(candidate)
        if found:
            return _text(found, side)
        placed = _placed(candidate, side)
        if placed:
            return placed
    return ""


def give(segment):
    """Give a segment the codes of its name, unless it has any but the general one already."""
    known = entry(segment.GetName())
    tag = segment.GetTerminologyEntryTagName()
    told = prompts.get_tag(segment, tag)
    if known and (not told or "85756007^Tissue~SCT^85756007^Tissue" in told):
        segment.SetTag(tag, known)


def _text(found, side=_NONE, region=_NONE, region_side=_NONE):
    category, code = found
    return (
        f"{_CONTEXT}~{_CATEGORIES[category]}~{code}~{side or _NONE}~"
        f"{_REGIONS}~{region}~{region_side or _NONE}"
    )


def _placed(words, side):
    """``liver tumor``, ``tumor of liver``: a finding before or after the name of an organ."""
    words = [w for w in words if w not in _LINKS]
    for cut in range(1, len(words)):
        for first, second in ((words[cut:], words[:cut]), (words[:cut], words[cut:])):
            finding, region = _find(first), _find(second)
            if finding and region and finding[0] == "abnormal" != region[0]:
                return _text(finding, region=region[1], region_side=side)
    return ""


def _words(name):
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+\d*|\d+", spaced.lower())


def _take_side(words):
    for n, word in enumerate(words):
        at_end = n in (0, len(words) - 1) and len(words) > 1
        if word in _SIDES and (len(word) > 1 or at_end):
            return _SIDES[word], words[:n] + words[n + 1 :]
    return _NONE, words


def _find(words):
    phrase = " ".join(words)
    return _table().get(phrase) or _table().get(phrase[:-1] if phrase.endswith("s") else phrase)


@functools.lru_cache(maxsize=1)
def _table():
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "Resources")
    known = {}
    with open(os.path.join(folder, "terminology.csv"), encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found = row["category"], f"SCT^{row['code']}^{row['meaning']}"
            for column in ("german_latin", "names"):  # the English names come first
                known.update(dict.fromkeys((row.get(column) or "").split("|"), found))
    known.pop("", None)
    return known
