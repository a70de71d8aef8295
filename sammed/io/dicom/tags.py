"""Elements of DICOM headers as plain values: whatever is absent or malformed is None.

pydicom converts an element when it is first looked at, and a corrupt one can raise almost any
exception there. Everything that reads headers goes through these functions.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from functools import cache
from typing import Any

MAX_TEXT = 200
"""Characters of a text that are shown; longer ones are cut."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's remarks on odd values: what matters is said in our own notes."""
    from pydicom.config import disable_value_validation

    logger = logging.getLogger("pydicom")
    level = logger.level
    with warnings.catch_warnings(), disable_value_validation():
        warnings.filterwarnings("ignore", module="pydicom")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def value(header: Any, keyword: str) -> Any:
    """The element's value as pydicom gives it; None if absent, empty or malformed."""
    try:
        tag = _tag(keyword)
        if tag not in header:
            return None
        found = header[tag].value
        if found is None or (hasattr(found, "__len__") and len(found) == 0):
            return None
        return found
    except Exception:  # a corrupt element: any exception may come out of its conversion
        return None


@cache
def _tag(keyword: str) -> Any:
    from pydicom.tag import Tag

    return Tag(keyword)


def text(header: Any, keyword: str) -> str:
    """The element as one line of printable text, ``""`` if there is none."""
    found = value(header, keyword)
    if found is None:
        return ""
    try:
        joined = "\\".join(map(str, found)) if _is_multiple(found) else str(found)
    except Exception:  # a corrupt character set
        return ""
    cleaned = joined
    if not joined.isprintable():
        cleaned = "".join(c if c.isprintable() else " " for c in joined)
    return " ".join(cleaned.split())[:MAX_TEXT]


def texts(header: Any, keyword: str) -> tuple[str, ...]:
    """The element's values as texts."""
    found = value(header, keyword)
    if found is None:
        return ()
    try:
        return tuple(str(v).strip() for v in found) if _is_multiple(found) else (str(found),)
    except Exception:  # as above
        return ()


def numbers(header: Any, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """The element's values as finite floats; None if there are not ``count`` of them."""
    found = value(header, keyword)
    if found is None:
        return None
    try:
        parts = [float(v) for v in (found if _is_multiple(found) else [found])]
    except Exception:  # no number, or an absurd one
        return None
    if not all(map(math.isfinite, parts)) or (count is not None and len(parts) != count):
        return None
    return tuple(parts)


def number(header: Any, keyword: str) -> float | None:
    """The element's (first) value as a finite float."""
    found = numbers(header, keyword)
    return found[0] if found else None


def whole(header: Any, keyword: str) -> int | None:
    """The element's value as a whole number."""
    found = number(header, keyword)
    return int(found) if found is not None and found == int(found) else None


def items(header: Any, keyword: str) -> tuple[Any, ...]:
    """The datasets of a sequence; empty if it is absent or malformed."""
    found = value(header, keyword)
    try:
        return tuple(item for item in found if hasattr(item, "get")) if found is not None else ()
    except Exception:  # not a sequence
        return ()


def _is_multiple(found: Any) -> bool:
    return isinstance(found, MutableSequence | tuple)
