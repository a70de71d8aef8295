"""Which phase of contrast a series shows, by the words of its description."""

from __future__ import annotations

import re

_PHASES: dict[str, tuple[str, ...]] = {
    "native": ("native", "nativ", "non contrast", "noncontrast", "without contrast", "pre contrast",
               "precontrast", "unenhanced", "nc", "plain"),
    "arterial": ("arterial", "arteriell", "art", "aortic", "late arterial", "hap"),
    "venous": ("venous", "venoes", "portal", "portalvenous", "portovenous", "pv", "pvp", "ven"),
    "delayed": ("delayed", "delay", "late", "equilibrium", "excretory", "spaet", "del"),
    "hepatobiliary": ("hepatobiliary", "hbp"),
}  # fmt: skip


def phase_of(description: str) -> str:
    """The phase that a SeriesDescription names, or ``""``.

    Only whole words count, and two phases in one description are none.

    Examples
    --------
    >>> phase_of("Abdomen ART 1.0 B30f"), phase_of("portal-venous 3mm"), phase_of("T2 cor")
    ('arterial', 'venous', '')
    """
    spelled = description.lower()
    for letter, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue")):
        spelled = spelled.replace(letter, plain)
    words = f" {' '.join(re.findall(r'[a-z]+', spelled))} "
    found = {
        phase for phase, names in _PHASES.items() if any(f" {name} " in words for name in names)
    }
    if found == {"arterial", "delayed"} and " late arterial " in words:
        return "arterial"
    return found.pop() if len(found) == 1 else ""
