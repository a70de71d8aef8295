"""Models by name: what there is, whether its weights are here, and how to build it."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed.errors import (
    BackendUnavailableError,
    InputError,
    ModelError,
    SammedError,
    SammedWarning,
)
from sammed.models import catalogue, downloads
from sammed.models.checkpoints import check_there, is_weights_path
from sammed.models.devices import resolve_device, set_threads
from sammed.models.entry import OWN_PACKAGE, BuildRequest, ModelEntry
from sammed.models.hq.entries import ANY_HQ
from sammed.models.learned.entry import LEARNED
from sammed.models.learned.entry import structures as _structures_in
from sammed.models.learned.file import SUFFIX
from sammed.models.licences import Terms, check_confirmed, terms_of
from sammed.models.memory import check_memory
from sammed.models.sam.entries import ANY_CHECKPOINT
from sammed.models.sam2.entries import ANY_SAM2

if TYPE_CHECKING:
    from sammed.models.protocols import Model

PROMPTS_ONLY = "#prompts"
"""Behind the path of a learned model: nothing is found by its name."""

OWN_LICENSE = "unknown (own weights file)"
"""Of weights that the user brings."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without building it.

    Attributes
    ----------
    name, description, license
        For people; the licence is the weights'.
    size
        Bytes of the weights files, 0 if the model has none or nobody says.
    sha256
        SHA-256 (hex) of the official file, empty if the model has none or none is known.
    url
        Where the official file is published, empty if it has none.
    available
        Whether the model can be built now, as far as a look at the disk tells.
    package
        The installed package that the model comes from.
    terms
        What the licence says: in a clinic? in a product?
    lacks
        Why it cannot be built now: ``"weights"``, the extra that it needs, or nothing.
    memory
        Bytes of memory that it takes while it works, 0 if not known or little.
    """

    name: str
    description: str
    license: str
    size: int
    sha256: str
    url: str
    available: bool
    package: str
    terms: Terms
    lacks: str
    memory: int


def names() -> list[str]:
    """All registry names: sammed's own models, then those of other packages.

    Examples
    --------
    >>> names()[:2]
    ['compact', 'vit_b']
    """
    return list(catalogue.entries())


def info(name: str) -> ModelInfo:
    """What is known of a model.

    Raises
    ------
    InputError
        If there is no model of that name.
    ModelError
        If it is a model of another package whose entry is broken.

    Examples
    --------
    >>> info("ellipse").available, info("ellipse").size
    (True, 0)
    """
    entry = catalogue.resolve(name)
    weights, kept = entry.weights, downloads.kept_path(entry)
    needed = (*entry.shipped, kept) if kept else entry.shipped
    lacks = "" if all(path.is_file() for path in needed) else "weights"
    if entry.needs and _lacking(entry.needs):
        lacks = entry.needs
    size = sum(path.stat().st_size for path in entry.shipped if path.is_file())
    return ModelInfo(
        entry.name,
        entry.description,
        entry.license,
        size + (weights.size if weights else 0),
        weights.sha256 if weights else "",
        weights.url if weights else "",
        not lacks,
        entry.package,
        terms_of(entry.license),
        lacks,
        entry.memory,
    )


def structures(name_or_path: str) -> Mapping[str, int]:
    """What a model finds by name, without a prompt: name → value; of most models nothing.

    Parameters
    ----------
    name_or_path
        As `build`.

    Raises
    ------
    ModelError
        If it is the file of a learned model that is missing, cut or of a newer version.

    Examples
    --------
    >>> structures("compact")
    {}
    """
    path, prompts_only = _prompts_only(name_or_path)
    if not is_weights_path(path):
        return {}
    check_there(Path(path))
    found = _structures_in(Path(path))
    return {} if prompts_only else found


def check(name_or_path: str) -> None:
    """Make sure that a model could be built, as far as a look at the disk tells.

    Raises
    ------
    InputError, ModelError
        As `build`.
    """
    path, _ = _prompts_only(name_or_path)
    if is_weights_path(path):
        check_there(Path(path))
        return
    entry = catalogue.resolve(name_or_path)
    _check_package(entry)
    check_confirmed(entry.name, entry.license)
    _weights_of(entry, None)
    check_memory(entry.name, entry.memory)


def build(
    name_or_path: str,
    *,
    device: str = "cpu",
    threads: int | None = None,
    weights: Path | None = None,
    **options: Any,
) -> Model:
    """Build a model, ready to encode.

    Parameters
    ----------
    name_or_path
        A registry name or alias, or the path of a weights file: the entries are asked whose it
        is, and what none of them recognises is read as segment-anything's. ``FILE.sammed#prompts``
        is a learned model that finds nothing by its name: every object is what its prompts say.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``; the baselines always run on the CPU.
    threads
        How many threads PyTorch may use; ``None`` leaves its own number, or fewer for
        segment-anything where a measurement says that fewer are faster.
    weights
        A file to take instead of the official one.
    **options
        What the entry takes beside: of segment-anything's models ``zoom`` (side of a view over
        the longer side of the box, ``None`` for whole slices), ``encode_size`` (side in px at
        which views are encoded, up to 1024), ``engine`` and ``precision`` (see
        `sammed.models.sam.backends`). ``None`` leaves an option at its default.

    Raises
    ------
    InputError
        If there is no such model, device or option.
    ModelError
        If it is a model of another package that is broken; the message names the package.
    WeightsNotFoundError
        If the weights are not here; the message says how to get them.
    WeightsMismatchError
        If the weights are broken or for another model.
    BackendUnavailableError
        If the device, or a package that the model needs, is not there.

    Examples
    --------
    >>> model = build("ellipse")
    >>> model.spec.name, sorted(model.spec.prompts)
    ('ellipse', ['box'])
    """
    name_or_path, prompts_only = _prompts_only(name_or_path)
    if is_weights_path(name_or_path):
        weights = Path(name_or_path)
        entry = _entry_of_file(weights)
        if prompts_only:
            options = {"prompts_only": True, **options}
    else:
        entry = catalogue.resolve(name_or_path)
    options = {option: value for option, value in options.items() if value is not None}
    _check_options(entry, weights, options)
    _check_package(entry)
    check_confirmed(entry.name, entry.license)
    if entry.uses_torch:
        device = resolve_device(device)
        set_threads(threads)
    else:
        device = "cpu"
    request = BuildRequest(
        weights=_weights_of(entry, weights),
        license=entry.license if weights is None else OWN_LICENSE,
        device=device,
        threads=threads,
    )
    if device == "cpu":
        check_memory(entry.name, entry.memory)
    if entry.package == OWN_PACKAGE:
        model: Model = entry.build(request, **options)
        return model
    return _build_foreign(entry, request, options)


def _prompts_only(name_or_path: str) -> tuple[str, bool]:
    """A path without the mark that says that its prompts alone are to be answered."""
    bare = str(name_or_path).removesuffix(PROMPTS_ONLY)
    return bare, bare != str(name_or_path) and bare.lower().endswith(SUFFIX)


def _check_options(entry: ModelEntry, weights: Path | None, options: dict[str, Any]) -> None:
    if weights is not None and not entry.takes_weights:
        raise InputError(f"model {entry.name!r} has no weights; leave {weights} out")
    unknown = [option for option in options if option not in entry.options]
    if unknown:
        raise InputError(
            f"model {entry.name!r} has no option {', '.join(unknown)}; "
            f"expected {' or '.join(entry.options) or 'none'}"
        )


def _entry_of_file(path: Path) -> ModelEntry:
    """Whose weights a file holds: other packages are asked first, as ours take all the rest."""
    check_there(path)
    known = list(reversed(catalogue.entries().values()))
    others = [entry for entry in known if entry.package != OWN_PACKAGE]
    ours = [entry for entry in known if entry.package == OWN_PACKAGE]
    candidates = (LEARNED, *others, ANY_SAM2, ANY_HQ, *ours, ANY_CHECKPOINT)
    return next(entry for entry in candidates if _recognises(entry, path))


EXTRAS = {
    "sam2": ("sam2",),
    "hq": ("segment_anything_hq", "timm"),
    "nninteractive": ("nnInteractive", "nnunetv2"),  # the first alone may be its client's
}
"""By extra of sammed, the packages that it brings, as they are imported."""


def _lacking(extra: str) -> list[str]:
    """What is not installed of an extra, or of a package that is none."""
    packages = EXTRAS.get(extra, (extra,))
    return [name for name in packages if importlib.util.find_spec(name) is None]


def _check_package(entry: ModelEntry) -> None:
    lacking = _lacking(entry.needs) if entry.needs else []
    if lacking:
        raise BackendUnavailableError(
            f"model {entry.name!r} needs the package {lacking[0]}, which is not installed; "
            f"install it with 'pip install \"sammed[{entry.needs}]\"'"
        )


def _recognises(entry: ModelEntry, path: Path) -> bool:
    try:
        return entry.recognises is not None and entry.recognises(path)
    except Exception as error:
        warnings.warn(
            str(_broken(entry, f"{type(error).__name__}: {error}")), SammedWarning, stacklevel=4
        )
        return False


def _weights_of(entry: ModelEntry, own: Path | None) -> Path | None:
    """The file to read: the user's, which is there, or the official one, checked."""
    if own is not None:
        check_there(own)
        return own
    return downloads.find(entry) if entry.weights else None


def _build_foreign(entry: ModelEntry, request: BuildRequest, options: dict[str, Any]) -> Model:
    """Build a model of another package; whatever goes wrong there is one line that names it."""
    from sammed.models import contract

    try:
        model: Model = entry.build(request, **options)
        contract.check_protocol(model)
        contract.check_name(model, entry.name)
    except contract.ContractError as error:
        raise _broken(entry, str(error)) from error
    except SammedError:
        raise
    except Exception as error:
        raise _broken(entry, f"{type(error).__name__}: {error}") from error
    return model


def _broken(entry: ModelEntry, why: str) -> ModelError:
    return ModelError(
        f"the model {entry.name!r} of the installed package {entry.package!r} cannot be used: "
        f"{' '.join(why.split())}; update or uninstall that package"
    )
