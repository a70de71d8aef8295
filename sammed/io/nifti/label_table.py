"""Label names and colours in a NIfTI header: the Caret XML label table.

It is the one table with names and colours that several programs share (Connectome Workbench,
TotalSegmentator); programs that do not know it skip it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from nibabel.nifti1 import Nifti1Extension

from sammed.io.colours import default_colour

CODE = 0
"""Extension code; 0, as TotalSegmentator writes and MITK reads it."""

MAX_BYTES = 1 << 22
"""Larger tables are not looked at."""

Colour = tuple[int, int, int]


def parse(extensions: Iterable[Any]) -> tuple[dict[int, str], dict[int, Colour]]:
    """Names and colours by label value; what is no sound label table is skipped."""
    names: dict[int, str] = {}
    colours: dict[int, Colour] = {}
    for extension in extensions:
        for element in _labels_of(_content(extension)):
            try:
                value = int(element.attrib["Key"])
                name = (element.text or "").strip()
            except (KeyError, ValueError):
                continue
            if value > 0 and name:
                names[value] = name
                if (colour := _colour(element)) is not None:
                    colours[value] = colour
    return names, colours


def build(names: Mapping[int, str], colours: Mapping[int, Colour]) -> Any:
    """The table as a header extension."""
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for value, name in sorted(names.items()):
        red, green, blue = (f"{c / 255:.6g}" for c in colours.get(value, default_colour(value)))
        attributes = {"Key": str(value), "Red": red, "Green": green, "Blue": blue, "Alpha": "1"}
        ElementTree.SubElement(table, "Label", attributes).text = name
    content = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return Nifti1Extension(CODE, content)


def _content(extension: Any) -> bytes:
    """The extension's bytes, in nibabel 5.2 as in later versions."""
    content = extension.content if hasattr(extension, "content") else extension.get_content()
    return content if isinstance(content, bytes) else b""


def _labels_of(text: bytes) -> list[ElementTree.Element]:
    if len(text) > MAX_BYTES:
        return []
    text = text.strip(b"\0 \r\n\t")
    if b"<LabelTable" not in text or b"<!" in text.replace(b"<![CDATA[", b""):
        return []  # a document type could expand without end
    try:
        return list(ElementTree.fromstring(text).iter("Label"))
    except (ElementTree.ParseError, LookupError, ValueError):
        return []


def _colour(element: ElementTree.Element) -> Colour | None:
    try:
        red, green, blue = (float(element.attrib[name]) for name in ("Red", "Green", "Blue"))
    except (KeyError, ValueError):
        return None
    return _byte(red), _byte(green), _byte(blue)


def _byte(fraction: float) -> int:
    return min(255, max(0, round(255 * fraction)))
