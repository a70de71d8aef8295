"""What a label's name means in codes: category, type, side and region, mostly SNOMED CT.

The table beside this module holds the usual organs, tissues and findings, TotalSegmentator's
names among them. A name that it does not hold gets the stated generic code, tissue.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Code(NamedTuple):
    """A coded concept; ``scheme`` is DICOM's designator, ``"SCT"`` for SNOMED CT."""

    value: str
    meaning: str
    scheme: str = "SCT"


@dataclass(frozen=True)
class SegmentCodes:
    """The codes of one segment.

    Attributes
    ----------
    category
        What kind of thing it is (CID 7150).
    type
        What it is (CID 7151 and wider).
    side
        Left or right, of the type or, where there is a region, of the region.
    region
        Where a finding sits: ``"liver tumour"`` is a neoplasm of the region liver.
    known
        False for the generic code.
    """

    category: Code
    type: Code
    side: Code | None = None
    region: Code | None = None
    known: bool = True


CATEGORIES = {
    "anatomical": Code("91723000", "Anatomical Structure"),
    "abnormal": Code("49755003", "Morphologically Abnormal Structure"),
    "tissue": Code("85756007", "Tissue"),
    "substance": Code("91720002", "Body Substance"),
    "object": Code("260787004", "Physical object"),
}
LEFT, RIGHT = Code("7771000", "Left"), Code("24028007", "Right")
GENERIC = SegmentCodes(CATEGORIES["tissue"], Code("85756007", "Tissue"), known=False)
"""For names that say nothing known; 3D Slicer and dcmqi use the same one."""

_LEFT_WORDS = ("left", "lt", "l", "links", "linke", "linker", "linkes", "sinister", "sinistra",
               "sinistrum")  # fmt: skip
_RIGHT_WORDS = ("right", "rt", "r", "rechts", "rechte", "rechter", "rechtes", "dexter", "dextra",
                "dextrum")  # fmt: skip
_SIDES = dict.fromkeys(_LEFT_WORDS, LEFT) | dict.fromkeys(_RIGHT_WORDS, RIGHT)
_SHORT_SIDES = {"l", "r"}
_LINK_WORDS = {"of", "the", "in"}


_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "œ": "oe"})


class _Entry(NamedTuple):
    category: str
    code: Code
    paired: bool = False


def codes_for(name: str) -> SegmentCodes:
    """Codes of a segment, from its name.

    Case, separators, plurals, a trailing number and words for the side do not matter; a finding
    beside an organ is placed there.

    Parameters
    ----------
    name
        As the user or a model wrote it, e.g. ``"kidney_left"``, ``"Liver tumour 2"``.

    Returns
    -------
    SegmentCodes
        `GENERIC` if the name is not known.

    Examples
    --------
    >>> codes_for("kidney_left").type.meaning, codes_for("kidney_left").side.meaning
    ('Kidney', 'Left')
    >>> codes = codes_for("Tumour of the right lung")
    >>> codes.type.meaning, codes.region.meaning, codes.side.meaning
    ('Neoplasm', 'Lung', 'Right')
    >>> codes_for("object 3").known
    False
    """
    words = _words(name)
    whole = _find(words)  # "left ventricle" is one thing: the side belongs to the name
    if whole:
        return SegmentCodes(CATEGORIES[whole.category], whole.code)
    side, words = _take_side(words)
    for candidate in (words, words[:-1] if words and words[-1].isdigit() else []):
        found = _find(candidate)
        if found:
            return SegmentCodes(CATEGORIES[found.category], found.code, side)
        placed = _finding_in_region(candidate, side)
        if placed:
            return placed
    return GENERIC


def known_names() -> list[str]:
    """The first name of each structure of the table, in its order.

    Examples
    --------
    >>> known_names()[:3]
    ['liver', 'spleen', 'kidney']
    """
    first: dict[Code, str] = {}
    for name, entry in _table().items():
        first.setdefault(entry.code, name)
    return list(first.values())


@dataclass(frozen=True)
class Concept:
    """What a name means, as far as two names can mean the same.

    Attributes
    ----------
    codes
        SNOMED CT codes: of the thing, and of the region of a finding.
    meaning
        In words.
    side
        ``"left"``, ``"right"`` of the patient, or ``""``.
    paired
        Whether there is one on each side: without a side two are meant.
    """

    codes: tuple[str, ...]
    meaning: str
    side: str = ""
    paired: bool = False

    def say(self) -> str:
        """As messages call it."""
        return f"{self.meaning}{', ' * bool(self.side)}{self.side} (SCT {' '.join(self.codes)})"


def concept(name: str) -> Concept | None:
    """What a name, a synonym (English, German, Latin) or a SNOMED CT code means.

    Parameters
    ----------
    name
        ``"left kidney"``, ``"Niere links"``, ``"ren sinister"``, ``"64033007 left"``.

    Returns
    -------
    Concept or None
        ``None`` if it is not in the table.

    Examples
    --------
    >>> concept("Niere links") == concept("left kidney") == concept("64033007 left")
    True
    >>> concept("kidney").paired, concept("zebra")
    (True, None)
    """
    words = _words(name)
    side, rest = _take_side(words)
    coded = [entry for entry in _table().values() if rest == [entry.code.value]]
    if coded:
        code, sided = coded[0].code, _side_word(side)
        return Concept((code.value,), code.meaning, sided, coded[0].paired)
    found = codes_for(name)
    if not found.known:
        return None
    paired = any(e.paired for e in _table().values() if e.code == found.type)
    codes = (found.type.value, *((found.region.value,) if found.region else ()))
    meaning = found.type.meaning + (f" of {found.region.meaning}" if found.region else "")
    return Concept(codes, meaning, _side_word(found.side), paired)


def other_side(name: str) -> str:
    """The same of the other side: ``kidney_left`` of ``kidney_right``; a name without one stays.

    Examples
    --------
    >>> other_side("kidney_left"), other_side("Right lung"), other_side("liver")
    ('kidney_right', 'Left lung', 'liver')
    """
    if _find(_words(name)):
        return name  # "left ventricle": the side is a part of the name
    turned = dict(zip(_LEFT_WORDS, _RIGHT_WORDS, strict=False)) | dict(
        zip(_RIGHT_WORDS, _LEFT_WORDS, strict=False)
    )

    def swap(match: re.Match[str]) -> str:
        word = match[0]
        new = turned.get(word.lower(), word)
        if len(word) == 1 and match.start() != 0 and match.end() != len(name):
            return word
        return new.capitalize() if word[0].isupper() else new

    return re.sub(r"[A-Za-z]+", swap, name)


def _side_word(side: Code | None) -> str:
    return "" if side is None else side.meaning.lower()


def _finding_in_region(words: list[str], side: Code | None) -> SegmentCodes | None:
    """``liver tumour``, ``tumour of liver``: a finding before or after the name of an organ."""
    words = [w for w in words if w not in _LINK_WORDS]
    for cut in range(1, len(words)):
        for finding_words, region_words in ((words[cut:], words[:cut]), (words[:cut], words[cut:])):
            finding, region = _find(finding_words), _find(region_words)
            if finding and region and finding.category == "abnormal" != region.category:
                return SegmentCodes(CATEGORIES["abnormal"], finding.code, side, region.code)
    return None


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+\d*|\d+", spaced.lower().translate(_SPELLED))


def _take_side(words: list[str]) -> tuple[Code | None, list[str]]:
    """The side, and the words without it; a lone ``l`` or ``r`` counts at either end only."""
    for i, word in enumerate(words):
        at_end = i in (0, len(words) - 1) and len(words) > 1
        if word in _SIDES and (word not in _SHORT_SIDES or at_end):
            return _SIDES[word], words[:i] + words[i + 1 :]
    return None, words


def _find(words: list[str]) -> _Entry | None:
    table = _table()
    phrase = " ".join(words)
    return table.get(phrase) or table.get(phrase.removesuffix("s"))


@cache
def _table() -> dict[str, _Entry]:
    text = (files("sammed.io") / "terminology.csv").read_text("utf-8")
    entries = {}
    for row in csv.DictReader(text.splitlines()):
        entry = _Entry(row["category"], Code(row["code"], row["meaning"]), row["paired"] == "yes")
        more = row["german_latin"].split("|") if row["german_latin"] else []
        entries.update(dict.fromkeys([*row["names"].split("|"), *more], entry))
    return entries
