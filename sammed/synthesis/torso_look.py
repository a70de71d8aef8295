"""What a drawn trunk looks like: in Hounsfield units by phase, or with the contrast of any MR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sammed.synthesis.fields import Array

TISSUES: Mapping[str, tuple[float, float, float, float, float]] = {
    "air": (-1000, -1000, -1000, 0, 0),
    "gas": (-1000, -1000, -1000, 15, 5),
    "couch": (-350, -350, -350, 250, 30),
    "skin": (0, 10, 20, 20, 5),
    "fat": (-102, -100, -98, 8, 7),
    "cavity fat": (-100, -98, -96, 8, 9),
    "marrow fat": (-60, -60, -60, 20, 10),
    "muscle": (54, 58, 64, 7, 9),
    "bone": (560, 560, 560, 160, 90),
    "marrow": (190, 190, 200, 60, 40),
    "disc": (85, 85, 90, 15, 12),
    "cartilage": (60, 70, 80, 30, 10),
    "csf": (18, 18, 22, 8, 4),
    "cord": (34, 38, 42, 6, 4),
    "artery": (41, 310, 145, 12, 6),
    "vein": (41, 90, 140, 18, 8),
    "vein low": (41, 60, 125, 18, 10),
    "portal": (41, 110, 160, 15, 6),
    "heart blood": (41, 240, 140, 20, 8),
    "heart muscle": (44, 100, 100, 8, 7),
    "lung": (-830, -820, -810, 50, 40),
    "thyroid": (95, 160, 150, 25, 10),
    "liver": (57, 68, 108, 12, 6),
    "spleen": (48, 105, 118, 8, 7),
    "cortex": (33, 150, 175, 12, 7),
    "medulla": (31, 70, 165, 12, 7),
    "pelvis": (6, 8, 60, 40, 8),
    "pancreas": (40, 95, 88, 9, 12),
    "adrenal": (25, 60, 60, 12, 6),
    "bile": (8, 9, 10, 7, 4),
    "gallbladder wall": (35, 50, 60, 10, 4),
    "stomach wall": (40, 75, 80, 12, 8),
    "bowel wall": (40, 80, 85, 12, 9),
    "fluid": (18, 18, 20, 14, 8),
    "chyme": (35, 38, 42, 20, 14),
    "contrast": (220, 230, 230, 120, 15),
    "stool": (25, 25, 28, 45, 55),
    "bladder wall": (38, 55, 60, 8, 5),
    "urine": (5, 6, 10, 6, 4),
    "prostate": (42, 60, 78, 8, 8),
    "uterus": (45, 75, 100, 12, 8),
    "uterus cavity": (35, 45, 60, 12, 8),
    "lesion": (25, 40, 50, 40, 10),
}
"""Tissue → HU without contrast medium, in the arterial and in the portal venous phase; how much
bodies differ, and texture. Textbook values, rounded."""

SOFT = (-160.0, 240.0)
WINDOWS = (SOFT, (-1000.0, 1000.0), (-500.0, 1300.0), (-1350.0, 150.0), (-120.0, 180.0))
WINDOW_SHARES = (0.76, 0.06, 0.05, 0.03, 0.1)
"""Windows of a CT, and how often each is seen."""

ALIKE = {
    "cavity fat": "fat", "marrow fat": "fat", "vein low": "vein", "portal": "vein",
    "bowel wall": "muscle", "stomach wall": "muscle", "bladder wall": "muscle",
    "gallbladder wall": "muscle", "medulla": "cortex", "bile": "fluid", "urine": "fluid",
}  # fmt: skip
"""Tissues that often look alike in MR."""


@dataclass(frozen=True)
class Look:
    """What tissues look like in one image: mean and texture of each; of CT in HU.

    Attributes
    ----------
    tissues
        Tissue → (mean, deviation of its texture).
    is_ct
        Whether the means are HU, else in [0, 1].
    """

    tissues: Mapping[str, tuple[float, float]]
    is_ct: bool


def ct_look(rng: np.random.Generator) -> Look:
    """A CT: half of them without contrast medium, else at some time after it."""
    table = np.array(list(TISSUES.values()))
    late = float(rng.uniform()) if rng.random() < 0.55 else 0.0
    mean = table[:, 0]
    if late:
        much = float(rng.uniform(0.4, 1.2))
        mix = table[:, 1] * (1 - late) + table[:, 2] * late if rng.random() < 0.5 else table[:, 2]
        mean = mean + much * (mix - mean)
    mean = mean + rng.normal(0, 1, len(mean)) * table[:, 3]
    texture = table[:, 4] * float(rng.uniform(0.3, 1.2))
    found = dict(zip(TISSUES, zip(mean.tolist(), texture.tolist(), strict=True), strict=True))
    if rng.random() < 0.15:
        found["liver"] = (float(rng.uniform(-5, 45)), found["liver"][1])  # a fatty one
    return Look(found, True)


def mr_look(rng: np.random.Generator) -> Look:
    """Contrast as some MR sequence could have it."""
    much = float(rng.uniform(0.0, 0.08))
    found = {name: (float(rng.uniform(0.05, 1.0)), much * float(rng.uniform())) for name in TISSUES}
    for name, other in ALIKE.items():
        if rng.random() < 0.5:
            found[name] = (found[other][0] + float(rng.normal(0, 0.04)), found[name][1])
    if rng.random() < 0.6:
        bright = float(rng.uniform(0.55, 1.0))
        found["fat"], found["cavity fat"] = ((bright * k, much / 2) for k in (1.0, 0.95))
    for name in ("air", "gas", "couch", "lung"):
        found[name] = (float(rng.uniform(0, 0.04)), 0.0)
    found["lung"] = (float(rng.uniform(0, 0.2)), much / 2)
    found["bone"] = (float(rng.uniform(0, 0.2)), 0.02)
    return Look(found, False)


def photographed(rng: np.random.Generator, value: Array, look: Look) -> Array:
    """The image as it is seen: blurred, noisy, shaded, in a window; in [0, 1].

    Parameters
    ----------
    rng
        Source of randomness.
    value : (z, y, x) float32
        As drawn in the look's units.
    look
        Of a CT or not.
    """
    blur = float(rng.uniform(0.25, 0.65))
    noise = rng.standard_normal(value.shape, dtype=np.float32)
    if rng.random() < 0.6:
        noise = ndimage.gaussian_filter(noise, float(rng.uniform(0.4, 0.9)))
        noise /= noise.std()
    if look.is_ct:
        which = int(rng.choice(len(WINDOWS), p=WINDOW_SHARES))
        low, high = WINDOWS[which]
        wide = (high - low) * float(np.exp(rng.normal(0, 0.12)))
        middle = (low + high) / 2 + float(rng.normal(0, 0.04)) * wide
        noisy = value + np.float32(np.exp(rng.uniform(np.log(2), np.log(26)))) * noise
        seen = np.clip((noisy - np.float32(middle)) / np.float32(wide) + np.float32(0.5), 0, 1)
        return np.asarray(ndimage.gaussian_filter(seen, blur), np.float32)
    seen = ndimage.gaussian_filter(value, blur) + np.float32(rng.uniform(0.003, 0.06)) * noise
    least, most = np.percentile(seen[::2, ::2, ::2], (0.5, float(rng.uniform(98, 99.8))))
    seen = np.clip((seen - least) / max(float(most - least), 1e-3), 0, 1)
    return np.asarray(seen ** np.float32(np.exp(rng.normal(0, 0.15))), np.float32)
