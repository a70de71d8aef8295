"""The catalogue's entries of segment-anything's models and of MedSAM."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import WeightsNotFoundError
from sammed.models.entry import BuildRequest, ModelEntry, WeightsFile

if TYPE_CHECKING:
    from sammed.models.sam.model import SamModel

_META = "https://dl.fbaipublicfiles.com/segment_anything/"
_OPTIONS = ("zoom", "encode_size", "engine", "precision")


def build(
    request: BuildRequest,
    *,
    name: str = "",
    architecture: str | None = None,
    zoom: float | None = None,
    encode_size: int | None = None,
    engine: str = "torch",
    precision: str = "float32",
) -> SamModel:
    """Build a segment-anything model.

    Parameters
    ----------
    request
        With a weights file.
    name
        Name under which it is reported; empty takes the architecture's.
    architecture
        Which of segment-anything's encoders it must be; ``None`` takes the one of the file.
    zoom
        Side of a view over the longer side of the box, ``None`` for whole slices.
    encode_size
        Side in px at which views are encoded, up to 1024.
    engine, precision
        See `sammed.models.sam.backends`.

    Raises
    ------
    InputError, WeightsNotFoundError, WeightsMismatchError, BackendUnavailableError
        As `sammed.models.registry.build` says.
    """
    from sammed.models.checkpoints import sha256
    from sammed.models.devices import fastest_threads, set_threads
    from sammed.models.sam.backends import build_encoder
    from sammed.models.sam.model import MedSamModel, SamModel
    from sammed.models.sam.network import IMAGE_SIZE, load_network

    path = request.weights
    if path is None:
        raise WeightsNotFoundError("segment-anything needs a weights file; name it as the model")
    if request.threads is None and request.device == "cpu":
        set_threads(fastest_threads())
    network, found = load_network(
        path, architecture=architecture, image_size=encode_size or IMAGE_SIZE
    )
    weights_hash = sha256(path)
    encoder = network.image_encoder.to(request.device)
    kind = MedSamModel if name == "medsam" else SamModel
    return kind(
        network,
        name=name or found,
        encoder=build_encoder(encoder, engine=engine, precision=precision, key=weights_hash),
        variant="" if precision == "float32" else precision,
        engine=engine,
        weights_hash=weights_hash,
        license=request.license,
        device=request.device,
        zoom=zoom,
    )


def _is_medsam(path: Path) -> bool:
    return "medsam" in path.name.lower()


def _is_a_file(path: Path) -> bool:
    return True


_MEMORY = {"vit_b": 1.8e9, "vit_l": 3.6e9, "vit_h": 6.3e9}
"""Bytes of memory that a network takes while it encodes one view at 1024 px, measured by
``python -m benchmarks models-memory``."""


def _official(name: str, size: str, description: str, weights: WeightsFile) -> ModelEntry:
    return ModelEntry(
        name,
        f"segment-anything {size} (Kirillov et al. 2023), {description}",
        "Apache-2.0",
        partial(build, name=name, architecture=name),
        aliases=(f"sam_{name}",),
        weights=weights,
        options=_OPTIONS,
        memory=int(_MEMORY[name]),
    )


# The digests are not published beside the files. Those of Meta's files are the ones that micro-sam
# and Slicer's extensions for SAM pin, identically; the hex in the file names is the start of the
# MD5. MedSAM lies on Zenodo, which gives an MD5, and on a Google drive; the SHA-256 is the one
# that several projects found for the latter. A copy that matches either is genuine.
ENTRIES = (
    _official(
        "vit_b",
        "ViT-B",
        "91 M parameters",
        WeightsFile(
            "sam_vit_b_01ec64.pth",
            375042383,
            _META + "sam_vit_b_01ec64.pth",
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        ),
    ),
    _official(
        "vit_l",
        "ViT-L",
        "308 M parameters",
        WeightsFile(
            "sam_vit_l_0b3195.pth",
            1249524607,
            _META + "sam_vit_l_0b3195.pth",
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        ),
    ),
    _official(
        "vit_h",
        "ViT-H",
        "636 M parameters",
        WeightsFile(
            "sam_vit_h_4b8939.pth",
            2564550879,
            _META + "sam_vit_h_4b8939.pth",
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        ),
    ),
    ModelEntry(
        "medsam",
        "MedSAM (Ma et al. 2024): ViT-B fine-tuned on medical images, prompted by boxes",
        "CC-BY-4.0",
        partial(build, name="medsam", architecture="vit_b"),
        aliases=("medsam_vit_b",),
        weights=WeightsFile(
            "medsam_vit_b.pth",
            375049145,
            "https://zenodo.org/records/10689643/files/medsam_vit_b.pth?download=1",
            sha256="34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74",
            md5="3bb6db55bd0c9ca30b61248bca72f8d6",
        ),
        options=_OPTIONS,
        recognises=_is_medsam,
        memory=int(_MEMORY["vit_b"]),
    ),
)
"""The models whose official files are known."""

ANY_CHECKPOINT = ModelEntry(
    "segment-anything",
    "a checkpoint of one's own, of any of segment-anything's encoders",
    "unknown",
    build,
    options=_OPTIONS,
    recognises=_is_a_file,
)
"""What a file is read as that no other entry recognises: reading it says what it is."""
