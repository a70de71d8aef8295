"""All models by name: those of sammed, and those that other installed packages add."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sammed.errors import InputError, ModelError
from sammed.models import plugins
from sammed.models.compact.entry import ENTRY as COMPACT
from sammed.models.entry import BuildRequest, ModelEntry
from sammed.models.hq.entries import ANY_HQ
from sammed.models.hq.entries import ENTRIES as HQ
from sammed.models.learned.entry import LEARNED
from sammed.models.nninteractive.entry import ENTRY as NNINTERACTIVE
from sammed.models.sam.entries import ANY_CHECKPOINT
from sammed.models.sam.entries import ENTRIES as SAM
from sammed.models.sam2.entries import ANY_SAM2
from sammed.models.sam2.entries import ENTRIES as SAM2

if TYPE_CHECKING:
    from sammed.models.protocols import Model


def _baseline(request: BuildRequest, *, name: str) -> Model:
    from sammed.models.baselines import BoxBaseline, EllipseBaseline, TwoClassBaseline
    from sammed.models.stroke_baselines import RandomWalker, StrokeClasses

    kinds: tuple[type[Any], ...] = (
        BoxBaseline,
        EllipseBaseline,
        TwoClassBaseline,
        RandomWalker,
        StrokeClasses,
    )
    model: Model = next(kind for kind in kinds if kind.name == name)()
    return model


def _baseline_entry(name: str, description: str) -> ModelEntry:
    return ModelEntry(
        name,
        f"baseline: {description}",
        "Apache-2.0",
        partial(_baseline, name=name),
        uses_torch=False,
        baseline=True,
    )


_BUILT_IN = (
    COMPACT,
    *SAM,
    *HQ,
    *SAM2,
    NNINTERACTIVE,
    _baseline_entry("box", "the filled box"),
    _baseline_entry("ellipse", "the ellipse inscribed in the box"),
    _baseline_entry("two_class", "two intensity classes in the box"),
    _baseline_entry("random_walker", "random walks from strokes and points"),
    _baseline_entry("stroke_classes", "what is as bright as strokes and points"),
)

BUILT_IN: dict[str, ModelEntry] = {entry.name: entry for entry in _BUILT_IN}
"""The models of sammed itself, by registry name."""

BASELINES = tuple(entry.name for entry in _BUILT_IN if entry.baseline)
"""Those that every other model must beat."""


def entries() -> dict[str, ModelEntry]:
    """All entries by registry name: sammed's own, then those of other packages.

    Other packages are imported for it, once; one that is broken is left out with a
    `SammedWarning` that names it.
    """
    return BUILT_IN | {entry.name: entry for entry in _others().entries}


def resolve(name: str) -> ModelEntry:
    """The entry of a registry name or alias.

    Raises
    ------
    InputError
        If nothing is known by that name.
    ModelError
        If it is a model of another package whose entry is broken.

    Examples
    --------
    >>> resolve("sam_vit_b").name
    'vit_b'
    >>> resolve("ellipse").description
    'baseline: the ellipse inscribed in the box'
    """
    for entry in BUILT_IN.values():  # without a look at other packages, which takes time
        if name in entry.names:
            return entry
    others = _others()
    for entry in others.entries:
        if name in entry.names:
            return entry
    if name in others.refused:
        raise ModelError(others.refused[name])
    raise InputError(
        f"unknown model {name!r}; expected one of {', '.join(entries())}, "
        "or the path of a .pth, .safetensors or .sammed file"
    )


def _others() -> plugins.PlugIns:
    return plugins.load((*BUILT_IN.values(), LEARNED, ANY_SAM2, ANY_HQ, ANY_CHECKPOINT))
