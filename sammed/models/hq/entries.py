"""The catalogue's entries of HQ-SAM, Light HQ-SAM and MobileSAM."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import WeightsNotFoundError
from sammed.models.checkpoints import read_shapes
from sammed.models.entry import BuildRequest, ModelEntry, WeightsFile

if TYPE_CHECKING:
    from sammed.models.sam.model import SamModel

_HQ = "https://huggingface.co/lkeab/hq-sam/resolve/main/"
_OWN_TENSORS = ("mask_decoder.hf_token.weight", "image_encoder.patch_embed.seq.0.c.weight")


def build(request: BuildRequest, *, name: str = "", zoom: float | None = None) -> SamModel:
    """Build HQ-SAM, Light HQ-SAM or MobileSAM.

    Parameters
    ----------
    request
        With a weights file.
    name
        Which it must be; empty takes what the file holds.
    zoom
        Side of a view over the longer side of the box, ``None`` for whole slices.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError, BackendUnavailableError
        As `sammed.models.registry.build` says.
    """
    from sammed.models.checkpoints import sha256
    from sammed.models.hq.model import HqSamModel, mobile_sam
    from sammed.models.hq.network import load_network

    if request.weights is None:
        raise WeightsNotFoundError("HQ-SAM needs a weights file; name it as the model")
    network, found = load_network(request.weights, name=name or None)
    make = mobile_sam if found == "mobile_sam" else HqSamModel
    return make(
        network,
        name=found,
        weights_hash=sha256(request.weights),
        license=request.license,
        device=request.device,
        zoom=zoom,
    )


def _is_one(path: Path) -> bool:
    shapes = read_shapes(path)
    return any(name in shapes for name in _OWN_TENSORS)


def _official(name: str, description: str, weights: WeightsFile) -> ModelEntry:
    return ModelEntry(
        name,
        description,
        "Apache-2.0",
        partial(build, name=name),
        weights=weights,
        options=("zoom",),
        needs="hq",
    )


def _hq(name: str, file: str, what: str, size: int, sha256: str) -> ModelEntry:
    weights = WeightsFile(file, size, _HQ + file, sha256)
    return _official(name, f"HQ-SAM {what} (Ke et al. 2023): finer borders", weights)


# MobileSAM's digest is the one by which micro-sam and others pin the file of its repository.
# HQ-SAM's are those of the pointers in its makers' own repository of models, lkeab/hq-sam: the
# commits a3a77cd, 8a94b5e, 519b37f and 67ab824.
ENTRIES = (
    _official(
        "mobile_sam",
        "MobileSAM (Zhang et al. 2023): segment-anything with a small, quick encoder",
        WeightsFile(
            "mobile_sam.pt",
            40728226,
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        ),
    ),
    _hq(
        "hq_sam_tiny",
        "sam_hq_vit_tiny.pth",
        "light",
        42526881,
        "0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
    ),
    _hq(
        "hq_sam_vit_b",
        "sam_hq_vit_b.pth",
        "ViT-B",
        379335069,
        "14a9d662cd6f5a9c2dba6d40ab0058d88d287e4a18fd6fdc6ad5fb1a3fdeaa57",
    ),
    _hq(
        "hq_sam_vit_l",
        "sam_hq_vit_l.pth",
        "ViT-L",
        1254865805,
        "e1a6c385d62bf005ded91a54d5ec55c985cfc4103ef89c08d90f39f04934c343",
    ),
    _hq(
        "hq_sam_vit_h",
        "sam_hq_vit_h.pth",
        "ViT-H",
        2570940653,
        "a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
    ),
)
"""The models whose official files are known."""

ANY_HQ = ModelEntry(
    "hq",
    "a checkpoint of one's own of HQ-SAM or MobileSAM",
    "unknown",
    build,
    options=("zoom",),
    recognises=_is_one,
    needs="hq",
)
"""What a file is read as that holds tensors of HQ-SAM or MobileSAM."""
