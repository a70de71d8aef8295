"""Names become the right codes, and the codes are those of the standard."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from sammed.io.terminology import CATEGORIES, GENERIC, LEFT, RIGHT, codes_for


def rows():
    text = (files("sammed.io") / "terminology.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_table_agrees_with_the_standards_dictionary():
    """Rows said to be DICOM's own are in pydicom's copy of the standard, under that meaning."""
    from pydicom.sr._concepts_dict import concepts

    meanings: dict[str, set[str]] = {}
    for by_code in concepts["SCT"].values():
        for code, (meaning, *_) in by_code.items():
            meanings.setdefault(code, set()).add(meaning.lower())
    checked = 0
    for row in rows():
        if row["source"] == "DICOM":
            assert row["meaning"].lower() in meanings[row["code"]], row
            checked += 1
    assert checked > 180
    for code in (*CATEGORIES.values(), LEFT, RIGHT):
        assert code.meaning.lower() in meanings[code.value]


def test_no_name_twice_and_codes_are_numbers():
    names = [name for row in rows() for name in row["names"].split("|")]
    assert len(names) == len(set(names))
    for row in rows():
        assert row["code"].isdigit()
        assert row["category"] in CATEGORIES
        assert len(row["meaning"]) <= 64


@pytest.mark.parametrize(
    ("name", "meaning", "side", "region"),
    [
        ("liver", "Liver", None, None),
        ("kidney_left", "Kidney", "Left", None),
        ("Left Kidney", "Kidney", "Left", None),
        ("KidneyRight", "Kidney", "Right", None),
        ("L kidney", "Kidney", "Left", None),
        ("kidneys", "Kidney", None, None),
        ("heart_ventricle_left", "Left ventricle", None, None),
        ("lung_upper_lobe_right", "Upper lobe of lung", "Right", None),
        ("rib_left_4", "Fourth rib", "Left", None),
        ("vertebrae_L3", "L3 vertebra", None, None),
        ("Liver tumour 2", "Neoplasm", None, "Liver"),
        ("tumor of the right lung", "Neoplasm", "Right", "Lung"),
        ("kidney_cyst_left", "Cyst", "Left", "Kidney"),
        ("GTV-1", "Neoplasm", None, None),
    ],
)
def test_names(name, meaning, side, region):
    codes = codes_for(name)
    assert codes.known
    assert codes.type.meaning == meaning
    assert (codes.side.meaning if codes.side else None) == side
    assert (codes.region.meaning if codes.region else None) == region
    category = "abnormal" if region or meaning == "Neoplasm" else "anatomical"
    assert codes.category == CATEGORIES[category]


@pytest.mark.parametrize("name", ["", "object", "3", "L", "foo left", "左腎", "segment 1"])
def test_unknown_names_get_the_generic_code(name):
    assert codes_for(name) == GENERIC
