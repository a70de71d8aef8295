"""Models by name: what there is, whether its weights are here, and how to build it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.errors import InputError, WeightsNotFoundError
from sammed.models import catalogue, downloads
from sammed.models.checkpoints import check_there, is_weights_path, sha256
from sammed.models.devices import fastest_threads, resolve_device, set_threads
from sammed.models.protocols import ImageModel

COMPACT_WEIGHTS = Path(__file__).parent / "compact" / "weights" / "compact.safetensors"
"""The built-in network's weights, part of the package."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without building it.

    Attributes
    ----------
    name, description, licence
        For people; the licence is the weights'.
    size
        Bytes of the weights files, 0 if the model has none.
    sha256
        SHA-256 (hex) of the official file, empty if the model has none.
    url
        Where the official file is published, empty if it has none.
    available
        Whether the model can be built now, as far as a look at the disk tells.
    """

    name: str
    description: str
    licence: str
    size: int
    sha256: str
    url: str
    available: bool


def names() -> list[str]:
    """All registry names."""
    return list(catalogue.KNOWN)


def info(name: str) -> ModelInfo:
    """What is known of a model.

    Raises
    ------
    InputError
        If there is no model of that name.
    """
    known = catalogue.resolve(name)
    weights, path = known.weights, downloads.kept_path(known)
    size = weights.size if weights else 0
    if known.name == "compact":  # several files
        path = COMPACT_WEIGHTS
        size = sum(file.stat().st_size for file in path.parent.glob("*.safetensors"))
    available = path is None or path.is_file()
    return ModelInfo(
        known.name,
        known.description,
        known.license,
        size,
        weights.sha256 if weights else "",
        weights.url if weights else "",
        available,
    )


def build(
    name_or_path: str,
    *,
    device: str = "cpu",
    threads: int | None = None,
    weights: Path | None = None,
    **options: Any,
) -> ImageModel:
    """Build a model, ready to encode.

    Parameters
    ----------
    name_or_path
        A registry name or alias, or the path of a ``.pth`` or ``.safetensors`` file: the encoder
        is then recognised by its tensors, and MedSAM's way of feeding it by ``medsam`` in the
        file's name.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``; the baselines always run on the CPU.
    threads
        How many threads PyTorch may use; ``None`` leaves its own number, or fewer for
        segment-anything where a measurement says that fewer are faster.
    weights
        A file to take instead of the official one.
    **options
        What segment-anything's models take beside: ``zoom`` (side of a view over the longer side
        of the box, ``None`` for whole slices), ``encode_size`` (side in px at which views are
        encoded, up to 1024), ``engine`` and ``precision`` (see `sammed.models.sam.backends`).
        ``None`` leaves an option at its default.

    Raises
    ------
    InputError
        If there is no such model, device or option.
    WeightsNotFoundError
        If the weights are not here; the message says how to get them.
    WeightsMismatchError
        If the weights are broken or for another model.
    BackendUnavailableError
        If the device is not there.
    """
    if is_weights_path(name_or_path):
        name, weights = _name_of_file(Path(name_or_path)), Path(name_or_path)
    else:
        name = catalogue.resolve(name_or_path).name
    options = {option: value for option, value in options.items() if value is not None}
    _check_options(name, weights, options)
    if name in catalogue.BASELINES:
        return _build_baseline(name)
    device = resolve_device(device)
    set_threads(threads)
    if name == "compact":
        return _build_compact(weights, device)
    if threads is None and device == "cpu":
        set_threads(fastest_threads())
    return _build_sam(name, weights, device, **options)


SAM_OPTIONS = ("zoom", "encode_size", "engine", "precision")
_ANY_SAM = "segment-anything"


def _check_options(name: str, weights: Path | None, options: dict[str, Any]) -> None:
    if name in catalogue.BASELINES and weights is not None:
        raise InputError(f"model {name!r} has no weights; leave {weights} out")
    known = () if name == "compact" or name in catalogue.BASELINES else SAM_OPTIONS
    unknown = [option for option in options if option not in known]
    if unknown:
        raise InputError(
            f"model {name!r} has no option {', '.join(unknown)}; "
            f"expected {' or '.join(known) or 'none'}"
        )


def _name_of_file(path: Path) -> str:
    """Which model a weights file is for, as far as its name and format tell."""
    check_there(path)
    if "medsam" in path.name.lower():
        return "medsam"
    if path.suffix == ".safetensors" and not _holds_sam(path):
        return "compact"
    return _ANY_SAM


def _holds_sam(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as tensors:
            found: list[str] = tensors.keys()
    except SafetensorError:
        return True  # reading it as segment-anything's says what is wrong
    return any(name.startswith("image_encoder.blocks.") for name in found)


def _build_baseline(name: str) -> ImageModel:
    from sammed.models import baselines

    kinds = {kind.name: kind for kind in (baselines.BoxBaseline, baselines.EllipseBaseline)}
    return (kinds | {"two_class": baselines.TwoClassBaseline})[name]()


def _build_compact(weights: Path | None, device: str) -> ImageModel:
    if weights is None and not COMPACT_WEIGHTS.is_file():
        raise WeightsNotFoundError(
            f"the built-in network's weights are missing from the package ({COMPACT_WEIGHTS}); "
            "install sammed again"
        )
    from sammed.models.compact.model import CompactModel

    model: ImageModel = CompactModel(weights=weights, device=device)
    return model


def _build_sam(
    name: str,
    weights: Path | None,
    device: str,
    *,
    zoom: float | None = None,
    encode_size: int | None = None,
    engine: str = "torch",
    precision: str = "float32",
) -> ImageModel:
    known = catalogue.KNOWN.get(name)
    path = weights or downloads.find(catalogue.resolve(name))
    check_there(path)
    from sammed.models.sam.backends import build_encoder
    from sammed.models.sam.model import MedSamModel, SamModel
    from sammed.models.sam.network import IMAGE_SIZE, load_network

    network, architecture = load_network(
        path,
        architecture=known.weights.architecture if known and known.weights else None,
        image_size=encode_size or IMAGE_SIZE,
    )
    weights_hash = sha256(path)
    encoder = network.image_encoder.to(device)
    kind = MedSamModel if name == "medsam" else SamModel
    return kind(
        network,
        name=architecture if name == _ANY_SAM else name,
        encoder=build_encoder(encoder, engine=engine, precision=precision, key=weights_hash),
        variant="" if precision == "float32" else precision,
        engine=engine,
        weights_hash=weights_hash,
        license=known.license if known and weights is None else "unknown (own weights file)",
        device=device,
        zoom=zoom,
    )
