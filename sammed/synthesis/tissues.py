"""What structures are made of: brightness and texture, in CT-like, MR-like or free palettes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

HOUNSFIELD: dict[str, tuple[float, float]] = {
    "air": (-1000.0, 10.0),
    "lung": (-820.0, 60.0),
    "fat": (-100.0, 12.0),
    "fluid": (12.0, 10.0),
    "muscle": (55.0, 12.0),
    "organ": (85.0, 35.0),
    "vessel": (150.0, 70.0),
    "lesion": (55.0, 40.0),
    "marrow": (180.0, 80.0),
    "cortex": (600.0, 250.0),
    "stool": (20.0, 60.0),
}
"""Mean and spread of each kind of tissue in HU (free choice, about what textbooks give)."""

CT_WINDOWS: tuple[tuple[float, float, float], ...] = (
    (-160.0, 240.0, 0.68),
    (-1350.0, 150.0, 0.10),
    (-450.0, 1050.0, 0.08),
    (-30.0, 150.0, 0.08),
    (-1000.0, 1000.0, 0.06),
)
"""Window low, window high, how often it is drawn."""


@dataclass(frozen=True)
class Tissue:
    """Brightness of a structure, in display units (0 black, 1 white; clipped later).

    Attributes
    ----------
    mean
        Brightness.
    fine, coarse
        Amplitude of the texture at the scale of a few voxels, and of a structure's size.
    edge
        Width of the transition at the structure's border, in voxels.
    """

    mean: float
    fine: float = 0.01
    coarse: float = 0.01
    edge: float = 1.0

    def shifted(self, contrast: float) -> Tissue:
        """The same tissue, brighter by ``contrast``."""
        return replace(self, mean=self.mean + contrast)


class Palette:
    """Draws tissues that belong to one image.

    Attributes
    ----------
    mode
        ``"ct"``: Hounsfield units through a window; ``"mr"``: any mean for each kind of tissue;
        ``"free"``: everything close to one grey, contrasts small.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        """Choose a mode, a window and how much texture and contrast the image has."""
        self.rng = rng
        self.mode = str(rng.choice(("ct", "mr", "free"), p=(0.42, 0.40, 0.18)))
        weights = [w for *_, w in CT_WINDOWS]
        low, high, _ = CT_WINDOWS[int(rng.choice(len(CT_WINDOWS), p=weights))]
        self.low, self.width = low, high - low
        self.enhancement = float(rng.uniform(0.0, 1.6))
        self.texture = float(np.exp(rng.uniform(np.log(0.004), np.log(0.04))))
        self.grey = float(rng.uniform(0.2, 0.7))
        self.spread = float(np.exp(rng.uniform(np.log(0.05), np.log(0.3))))
        self._kinds = {kind: float(rng.beta(1.1, 1.3)) for kind in HOUNSFIELD}
        if rng.random() < 0.8:
            for kind in ("air", "cortex", "lung"):
                self._kinds[kind] = float(rng.uniform(0.0, 0.08))

    def draw(self, kind: str) -> Tissue:
        """A tissue of this kind, as bright as its kind in this image, give or take."""
        if kind == "air":
            return Tissue(self._air(), fine=0.0, coarse=0.0)
        amounts = np.exp(self.rng.normal(0.0, 0.6, 2)) * self.texture
        return Tissue(self._mean(kind), float(amounts[0]), float(amounts[1]), self._edge())

    def beside(self, tissue: Tissue, weakest: float = 0.0, strongest: float = 0.5) -> Tissue:
        """A tissue whose contrast to another is often small."""
        if self.rng.random() < 0.07:
            size = weakest
        else:
            low = max(0.03 if self.rng.random() < 0.5 else 0.08, weakest)
            size = float(np.exp(self.rng.uniform(np.log(low), np.log(max(strongest, low * 1.01)))))
        sign = 1.0 if self.rng.random() < 0.5 else -1.0
        if not 0.03 < tissue.mean + sign * size < 0.97:
            sign = -sign
        amounts = np.exp(self.rng.normal(0.0, 0.6, 2)) * self.texture
        mean = tissue.mean + sign * size
        return Tissue(mean, float(amounts[0]), float(amounts[1]), self._edge())

    def heterogeneous(self, tissue: Tissue) -> Tissue:
        """The same tissue with a strong texture, as tumours have."""
        fine, coarse = np.exp(self.rng.uniform(np.log(0.02), np.log(0.14), 2))
        return replace(tissue, fine=float(fine), coarse=float(coarse))

    def _air(self) -> float:
        return -2.0 if self.mode == "ct" else self._kinds["air"]

    def _edge(self) -> float:
        return float(np.exp(self.rng.normal(0.0, 0.3)))

    def _mean(self, kind: str) -> float:
        if self.mode == "ct":
            centre, spread = HOUNSFIELD[kind]
            value = self.rng.normal(centre, spread)
            if kind in ("organ", "vessel") and centre > 0:
                value += self.enhancement * self.rng.uniform(0.2, 0.9) * 70.0
            return float((value - self.low) / self.width)
        if self.mode == "mr":
            return float(self._kinds[kind] + self.rng.normal(0.0, 0.05))
        return float(self.grey + self.rng.normal(0.0, self.spread))
