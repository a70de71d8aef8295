"""What the user is told, in sentences."""

from __future__ import annotations


def sentence(text):
    """The text with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def kept(found):
    """What is said of corrections by hand; empty if there are none."""
    if not found.painted and not found.cut:
        return ""
    said = []
    if found.painted:
        slices = ", ".join(map(str, found.painted[:6])) + (", ..." if found.painted[6:] else "")
        said.append(f"corrected by hand and kept: slice {slices}")
    if found.cut:
        said.append(f"ends where you cut it: slices {found.first} to {found.last}")
    return sentence("; ".join(said))


def summary(result):
    """What is said of a result."""
    slices = len(result.run.get("slices", []))
    if not slices:
        return "Nothing was found."
    seconds = sum(result.timings.values())
    return f"{slices} slice{'s' if slices != 1 else ''} segmented ({seconds:.1f} s of computing)."
