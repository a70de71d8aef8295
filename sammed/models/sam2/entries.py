"""The catalogue's entries of SAM 2, SAM 2.1 and MedSAM2."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import WeightsNotFoundError
from sammed.models.checkpoints import read_shapes
from sammed.models.entry import BuildRequest, ModelEntry, WeightsFile

if TYPE_CHECKING:
    from sammed.models.sam2.model import Sam2Model

_META = "https://dl.fbaipublicfiles.com/segment_anything_2/"
_OPTIONS = ("encode_size",)
_MEDSAM2_SIZE = 512
_PATCHES = "image_encoder.trunk.patch_embed.proj.weight"


def build(
    request: BuildRequest,
    *,
    name: str = "",
    architecture: str | None = None,
    encode_size: int | None = None,
) -> Sam2Model:
    """Build a model of SAM 2's family.

    Parameters
    ----------
    request
        With a weights file.
    name
        Name under which it is reported; empty takes the architecture's.
    architecture
        Which of SAM 2's networks it must be; ``None`` takes the one of the file.
    encode_size
        Side in px at which slices are encoded; by default what the weights were trained for.

    Raises
    ------
    InputError, WeightsNotFoundError, WeightsMismatchError, BackendUnavailableError
        As `sammed.models.registry.build` says.
    """
    from sammed.models.checkpoints import sha256
    from sammed.models.sam2.model import Sam2Model
    from sammed.models.sam2.network import IMAGE_SIZE, load_network

    path = request.weights
    if path is None:
        raise WeightsNotFoundError("SAM 2 needs a weights file; name it as the model")
    medical = name == "medsam2" or (not name and _is_medsam2(path))
    if encode_size is None:
        encode_size = _MEDSAM2_SIZE if medical else IMAGE_SIZE
    network, found = load_network(path, architecture=architecture, image_size=encode_size)
    return Sam2Model(
        network,
        name=name or ("medsam2" if medical else found),
        weights_hash=sha256(path),
        license=request.license,
        device=request.device,
    )


def _is_medsam2(path: Path) -> bool:
    return "medsam2" in path.name.lower()


def _is_sam2(path: Path) -> bool:
    return _PATCHES in read_shapes(path)


_MEMORY = {"tiny": 1.5e9, "small": 1.5e9, "base_plus": 1.8e9, "large": 2.7e9}
"""Bytes of memory that a network takes with seven slices remembered, measured by
``python -m benchmarks models-memory``."""


def _official(name: str, weights: WeightsFile) -> ModelEntry:
    family, size = name.split("_", 1)
    title = f"{family.upper().replace('SAM2', 'SAM 2')} {size.replace('_', '-')}"
    return ModelEntry(
        name,
        f"{title} (Ravi et al. 2024): follows an object from slice to slice by a memory",
        "Apache-2.0",
        partial(build, name=name, architecture=name),
        weights=weights,
        options=_OPTIONS,
        needs="sam2",
        memory=int(_MEMORY[size]),
    )


def _meta(folder: str, file: str, size: int, sha256: str) -> WeightsFile:
    return WeightsFile(file, size, f"{_META}{folder}/{file}", sha256)


# Meta publishes no digests beside the files. Those here are the ones by which several projects pin
# them, identically: micro-sam, extensions of 3D Slicer, and the pointers of Meta's own repositories
# of models. MedSAM2's is the one by which MONAI Label (revision e4a6f35 of wanglab/MedSAM2) and
# others pin the file.
ENTRIES = (
    _official(
        "sam2.1_tiny",
        _meta(
            "092824",
            "sam2.1_hiera_tiny.pt",
            156008466,
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        ),
    ),
    _official(
        "sam2.1_small",
        _meta(
            "092824",
            "sam2.1_hiera_small.pt",
            184416285,
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        ),
    ),
    _official(
        "sam2.1_base_plus",
        _meta(
            "092824",
            "sam2.1_hiera_base_plus.pt",
            323606802,
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        ),
    ),
    _official(
        "sam2.1_large",
        _meta(
            "092824",
            "sam2.1_hiera_large.pt",
            898083611,
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        ),
    ),
    _official(
        "sam2_tiny",
        _meta(
            "072824",
            "sam2_hiera_tiny.pt",
            155906050,
            "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        ),
    ),
    _official(
        "sam2_small",
        _meta(
            "072824",
            "sam2_hiera_small.pt",
            184309650,
            "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        ),
    ),
    _official(
        "sam2_base_plus",
        _meta(
            "072824",
            "sam2_hiera_base_plus.pt",
            323493298,
            "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
        ),
    ),
    _official(
        "sam2_large",
        _meta(
            "072824",
            "sam2_hiera_large.pt",
            897952466,
            "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        ),
    ),
    ModelEntry(
        "medsam2",
        "MedSAM2 (Ma et al. 2025): SAM 2.1 tiny fine-tuned on medical volumes and videos",
        "CC-BY-SA-4.0, for research and education only",
        partial(build, name="medsam2", architecture="sam2.1_tiny"),
        weights=WeightsFile(
            "MedSAM2_latest.pt",
            156040129,
            "https://huggingface.co/wanglab/MedSAM2/resolve/main/MedSAM2_latest.pt",
            "c92743b99f00d078bf32a3afcc38aaa9faf1c1692dffe3eaa7a90938c1991060",
        ),
        options=_OPTIONS,
        needs="sam2",
        memory=int(_MEMORY["tiny"]),
    ),
)
"""The models whose official files are known."""

ANY_SAM2 = ModelEntry(
    "sam2",
    "a checkpoint of one's own, of any of SAM 2's encoders",
    "unknown",
    build,
    options=_OPTIONS,
    recognises=_is_sam2,
    needs="sam2",
)
"""What a file is read as that holds SAM 2's tensors."""
