"""The catalogue's entry of compact, the built-in network, and where its weights lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import WeightsNotFoundError
from sammed.models.entry import BuildRequest, ModelEntry

if TYPE_CHECKING:
    from sammed.models.compact.model import CompactModel
    from sammed.models.compact.volume_model import VolumeFinder

_FOLDER = Path(__file__).parent / "weights"

WEIGHTS = _FOLDER / "compact.safetensors"
"""The network for views."""

BOXES = _FOLDER / "compact_boxes.safetensors"
"""The one for final boxes, as the difference from the former."""

STROKES = _FOLDER / "compact_strokes.safetensors"
"""What strokes add to the network for views."""

LOCATOR = _FOLDER / "locator.safetensors"
"""The one that sees all slices of a 3D box at once."""


def build(request: BuildRequest) -> CompactModel | VolumeFinder:
    """Build the built-in network, or of weights for volumes the network for volumes alone.

    Parameters
    ----------
    request
        Weights of ``None`` are those of the package.

    Raises
    ------
    WeightsNotFoundError
        If the package's weights are missing.
    WeightsMismatchError
        If a file is broken or for another model.
    BackendUnavailableError
        If the device cannot be used.
    """
    if request.weights is None and not WEIGHTS.is_file():
        raise WeightsNotFoundError(
            f"the built-in network's weights are missing from the package ({WEIGHTS}); "
            "install sammed again"
        )
    family = "" if request.weights is None else _family(request.weights)
    if request.weights is not None and family.startswith(VOLUME_FAMILY):
        from sammed.models.compact.volume_model import VolumeFinder

        return VolumeFinder(request.weights, request.device)
    from sammed.models.compact.model import CompactModel

    if family.startswith(STROKES_FAMILY):
        return CompactModel(device=request.device, strokes=request.weights)
    return CompactModel(weights=request.weights, device=request.device)


VOLUME_FAMILY = "volume-unet/"
"""How the architecture of weights for volumes begins."""

STROKES_FAMILY = "compact-strokes/"
"""The same of weights for strokes, which are used beside the shipped ones."""


def _is_trained_here(path: Path) -> bool:
    """Whether ``sammed train`` wrote the file: it notes the architecture."""
    return bool(_family(path))


def _family(path: Path) -> str:
    """The architecture that a weights file notes; empty if it is none of ours."""
    if path.suffix != ".safetensors":
        return ""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return str((file.metadata() or {}).get("architecture", ""))
    except (SafetensorError, OSError):
        return ""


ENTRY = ModelEntry(
    "compact",
    "built-in network for CT and MR, trained on synthetic images only; fast on a CPU",
    "Apache-2.0",
    build,
    shipped=(WEIGHTS, BOXES, STROKES, LOCATOR),
    recognises=_is_trained_here,
)
