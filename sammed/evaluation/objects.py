"""What is scored as one object: a label value, or a region of several; and files that say so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError
from sammed.imaging.volume import MAX_LABEL
from sammed.prompts.files import read_json

Key = int | tuple[int, ...]
"""A label value, or the values of a region, which are one object together."""

EXPECTED = """{"1": "liver", ...} or nnU-Net's dataset.json"""
"""What a file that names objects holds, for messages."""

IGNORE = "ignore"
"""nnU-Net's name of the label of voxels that nobody judged."""


@dataclass(frozen=True)
class Wanted:
    """Which objects are scored.

    Attributes
    ----------
    names
        By value or region; nothing else is scored.
    ignored
        Value of reference voxels that nobody judged; they are not scored.
    """

    names: Mapping[Key, str] = field(default_factory=dict)
    ignored: int | None = None


def mask_of(voxels: NDArray[np.unsignedinteger], key: Key) -> NDArray[np.bool_]:
    """Where a label map has a value, or one of a region.

    Examples
    --------
    >>> mask_of(np.array([0, 1, 2, 3]), (1, 3)).tolist()
    [False, True, False, True]
    """
    return np.isin(voxels, key) if isinstance(key, tuple) else np.asarray(voxels == key)


def values_of(key: Key) -> set[int]:
    """The label values of an object."""
    return set(key) if isinstance(key, tuple) else {key}


def key_text(key: Key) -> str:
    """A value or region as tables and manifests write it.

    Examples
    --------
    >>> key_text(3), key_text((1, 2))
    ('3', '1+2')
    """
    return "+".join(map(str, key)) if isinstance(key, tuple) else str(key)


def key_order(key: Key) -> tuple[bool, tuple[int, ...]]:
    """For sorting: values in ascending order, then regions."""
    return isinstance(key, tuple), key if isinstance(key, tuple) else (key,)


def parse_key(text: str) -> Key:
    """The inverse of `key_text`.

    Raises
    ------
    ValueError
        If it holds what is no whole number in 0..65535.

    Examples
    --------
    >>> parse_key("3"), parse_key("1+2")
    (3, (1, 2))
    """
    values = [_value(part) for part in str(text).split("+")]
    return values[0] if len(values) == 1 else tuple(sorted(set(values)))


def parse_names(content: Mapping[Any, Any]) -> Wanted:
    """Objects of ``{"1": "liver", "1+2": "whole"}``, or of nnU-Net's ``{"whole": [1, 2]}``.

    Label 0, the background, is left out, and so is nnU-Net's ``ignore``, which `Wanted` tells.

    Raises
    ------
    ValueError
        If a value is no whole number, or nothing is left.
    """
    by_name = all(isinstance(value, int | list) for value in content.values())
    names: dict[Key, str] = {}
    ignored = None
    for left, right in content.items():
        key, name = (_key(right), str(left)) if by_name else (parse_key(left), str(right).strip())
        if by_name and name == IGNORE and isinstance(key, int):
            ignored = key
        elif key != 0:
            names[key] = name
    if not names:
        raise ValueError("it names nothing but the background")
    return Wanted(names, ignored)


def read_names(path: Path) -> Wanted:
    """Objects from a JSON file: see `parse_names`; nnU-Net's ``dataset.json`` as it is.

    Raises
    ------
    UnreadableFileError
        If the file is missing or no such JSON.
    """
    content = read_json(path, EXPECTED)
    if isinstance(content, dict) and isinstance(content.get("labels"), dict):
        content = content["labels"]  # nnU-Net's dataset.json
    if not isinstance(content, dict):
        raise UnreadableFileError(f"{path} holds no names; expected {EXPECTED}")
    try:
        return parse_names(content)
    except ValueError as error:
        raise UnreadableFileError(f"{path}: {error}") from None


def _key(value: int | Collection[Any]) -> Key:
    if isinstance(value, int):
        return _value(value)
    if not value:
        raise ValueError("a region has no label; expected values such as [1, 2]")
    return parse_key("+".join(map(str, value)))


def _value(text: Any) -> int:
    try:
        value = int(text) if not isinstance(text, bool) else -1
    except (TypeError, ValueError):
        value = -1
    if not 0 <= value <= MAX_LABEL:
        raise ValueError(
            f"{text!r} is no label value; expected a whole number in 0..{MAX_LABEL}, or several "
            "of a region such as 1+2"
        )
    return value
