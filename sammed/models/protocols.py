"""The protocols of models: of views, with a memory of slices, of volumes.

An `ImageModel` encodes a view once and decodes any number of prompts on it; a `TrackingModel` also
remembers slices; a `VolumeModel` sees the volume as a whole. Nothing here needs torch: embeddings,
prompts and masks cross the room's door as numpy arrays.

Two frames appear. *Slice* pixels are the voxels of one slice, (row, col). *View* pixels are what
the model sees: the whole slice with its long side at ``view_size``, or a square zoomed on the
prompt. Positions in a view are continuous *edge* coordinates: pixel ``i`` covers ``[i, i + 1)``,
its centre is ``i + 0.5``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sammed.errors import PromptError
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.spec import ALL_PROMPTS as ALL_PROMPTS
from sammed.models.spec import BOX_ONLY as BOX_ONLY
from sammed.models.spec import VIEW_PROMPTS as VIEW_PROMPTS
from sammed.models.spec import VOLUME_PROMPTS as VOLUME_PROMPTS
from sammed.models.spec import ModelSpec as ModelSpec
from sammed.models.spec import PromptKinds as PromptKinds
from sammed.prompts import Interaction

STABILITY_OFFSET = 1.0
"""Half-width, in logits, of the band whose flip measures stability (segment-anything's value)."""

Memory = Any
"""What a `TrackingModel` remembers of one object: a value, opaque to the engine."""


@dataclass(frozen=True)
class ViewBatch:
    """Views of equal size, ready for ``encode``.

    Attributes
    ----------
    pixels : (n, c, h, w) float32
        In [0, 1]; ``c`` is 1 (grey) or 3 (colour). ``max(h, w)`` is the model's ``view_size``; a
        model that needs a square pads at the bottom and the right.
    neighbours : (n, 2 * context, h, w) float32 or None
        The same rectangle of the slices ``-context .. -1, +1 .. +context``, grey, in [0, 1]; at
        the ends of the stack the nearest slice is repeated. ``None`` if ``context`` is 0.
    """

    pixels: NDArray[np.float32]
    neighbours: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Embedding:
    """What a model keeps of one view: opaque to the engine, movable to disk.

    Attributes
    ----------
    arrays
        Named numpy arrays, in CPU memory.
    extent : (int, int)
        Height and width in view px of the view, before any padding.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    extent: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the arrays take."""
        return sum(a.nbytes for a in self.arrays.values())


def _no_points() -> NDArray[np.float32]:
    return np.empty((0, 2), np.float32)


def _no_labels() -> NDArray[np.bool_]:
    return np.empty(0, bool)


@dataclass(frozen=True)
class ViewPrompt:
    """What one object's prompt on one slice looks like to the model.

    Attributes
    ----------
    box : (4,) float32 or None
        ``(row0, col0, row1, col1)`` in view edge coordinates, half-open.
    points : (n, 2) float32
        ``(row, col)`` in view edge coordinates.
    positive : (n,) bool
        True for foreground points.
    mask : (m, m) float32 or None
        Logits of a mask that the object is expected to resemble (the neighbouring slice's, or one
        painted by the user), covering the padded ``view_size`` square; a model resizes it to its
        own ``mask_size`` if ``m`` differs.
    depth
        Of a box that outlines the whole object on all slices: where this slice lies between the
        object's ends, -1 and 1 at its outer faces. 0 otherwise; models may ignore it.
    final
        Whether the box was drawn for this slice and no other slice's mask follows from the answer;
        models may ignore it.
    strokes : (2, m, m) float32 or None
        Scribbles in the object and beside it, 1 where they are and fading round about, covering
        the padded ``view_size`` square; ``m`` is the model's ``mask_size``. Points along them are
        among ``points``. Only for models whose ``spec.prompts`` name ``"scribble"``.
    """

    box: NDArray[np.float32] | None = None
    points: NDArray[np.float32] = field(default_factory=_no_points)
    positive: NDArray[np.bool_] = field(default_factory=_no_labels)
    mask: NDArray[np.float32] | None = None
    depth: float = 0.0
    final: bool = False
    strokes: NDArray[np.float32] | None = None

    @property
    def kinds(self) -> PromptKinds:
        """Which of ``"box"``, ``"points"``, ``"mask"``, ``"scribble"`` it holds."""
        held = {"box": self.box is not None, "points": len(self.points) > 0}
        held["mask"] = self.mask is not None
        held["scribble"] = self.strokes is not None
        return frozenset(kind for kind, there in held.items() if there)


def check_prompts(spec: ModelSpec, prompts: Sequence[ViewPrompt]) -> None:
    """Make sure that every prompt holds something that the model makes use of.

    Raises
    ------
    PromptError
        If one is empty, or of kinds that the model does not know.
    """
    for prompt in prompts:
        if not prompt.kinds & spec.prompts:
            found = " and ".join(sorted(prompt.kinds)) or "an empty prompt"
            raise PromptError(
                f"model {spec.name!r} is prompted by {' or '.join(sorted(spec.prompts))}; "
                f"found {found}: add a box, or choose another model"
            )


@dataclass(frozen=True)
class ViewMask:
    """What the model answers: candidate masks of one object on one view.

    Attributes
    ----------
    low_res_logits : (k, m, m) float32
        One mask per candidate, covering the padded ``view_size`` square; > 0 is foreground.
    predicted_iou : (k,) float32
        The model's own estimate of each candidate's IoU, about [0, 1].
    present : float
        Probability in [0, 1] that the object is on this slice at all; 1 if the model cannot tell.
    preferred
        Index of the candidate that the model itself recommends for this kind of prompt; ``None``
        if it has no rule of its own.
    tokens : (k, n) float32 or None
        Of a `TrackingModel`: what it wants to get back with a candidate that it is to remember
        just as it was answered (SAM 2's object pointers); opaque to the engine.
    """

    low_res_logits: NDArray[np.float32]
    predicted_iou: NDArray[np.float32]
    present: float = 1.0
    preferred: int | None = None
    tokens: NDArray[np.float32] | None = None

    @property
    def best(self) -> int:
        """Index of the preferred candidate, else of the highest predicted IoU."""
        return int(np.argmax(self.predicted_iou)) if self.preferred is None else self.preferred

    def only(self, candidate: int) -> ViewMask:
        """One of the candidates by itself."""
        at = slice(candidate, candidate + 1)
        tokens = None if self.tokens is None else self.tokens[at]
        return ViewMask(self.low_res_logits[at], self.predicted_iou[at], self.present, None, tokens)

    @cached_property
    def stability(self) -> NDArray[np.float32]:
        """Stability score of each candidate, (k,) float32 in [0, 1].

        IoU between the masks thresholded ``STABILITY_OFFSET`` above and below 0
        (Kirillov et al. 2023, Segment Anything, doi:10.1109/ICCV51070.2023.00371); 0 if empty.
        """
        high = np.count_nonzero(self.low_res_logits > STABILITY_OFFSET, axis=(1, 2))
        low = np.count_nonzero(self.low_res_logits > -STABILITY_OFFSET, axis=(1, 2))
        return (high / np.maximum(low, 1)).astype(np.float32)


@runtime_checkable
class ImageModel(Protocol):
    """A promptable model of single slices."""

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        ...

    def encode(self, views: ViewBatch) -> list[Embedding]:
        """Embed views once; one embedding each, in order."""
        ...

    def decode(self, embedding: Embedding, prompts: Sequence[ViewPrompt]) -> list[ViewMask]:
        """Masks of any number of objects on one embedded view; one answer a prompt, in order."""
        ...


@runtime_checkable
class TrackingModel(ImageModel, Protocol):
    """A model that remembers slices: what it finds on one depends on what it saw on others.

    A memory is a value: `remember` gives a new one and leaves the old one as it is, so that an
    edit is undone, and only what is stale computed again, by keeping memories.

    Prompted slices are asked about by `decode`, as any model's are; several boxes on one slice are
    united. All of them are remembered first, in the order of slices. Then, outwards and between
    them, `track` answers for each next slice, and what the engine accepts is remembered too. A
    chain ends where `track` finds nothing, or where the accept tests say so. Views are whole
    slices: ``spec.zoom`` is ``None``.
    """

    def begin(self, length: int) -> Memory:
        """A memory of nothing.

        Parameters
        ----------
        length
            Number of slices of the stack.
        """
        ...

    def remember(
        self, memory: Memory, index: int, embedding: Embedding, mask: ViewMask, *, prompted: bool
    ) -> Memory:
        """The memory with one more slice and the object's mask on it.

        Parameters
        ----------
        memory
            Of one object.
        index
            Of the slice along its stack.
        embedding
            Of the whole slice.
        mask
            The object on it: one candidate of the model's own answer just as it was, with its
            ``tokens``; or what the engine made of several answers, or a painted slice: then
            without tokens, and (1, n, n) logits on the view of any ``n``.
        prompted
            Whether the user prompted the slice (SAM 2's conditioning frames).
        """
        ...

    def track(
        self, memory: Memory, index: int, embedding: Embedding, *, direction: int
    ) -> ViewMask:
        """The object on a slice, from what is remembered of it: at least one prompted slice.

        Parameters
        ----------
        memory
            Of the object.
        index
            Of the slice along its stack.
        embedding
            Of the whole slice.
        direction
            +1 or -1: which way the chain goes that asks.
        """
        ...


@dataclass(frozen=True, eq=False)
class VolumeImage:
    """A volume as a `VolumeModel` gets it.

    Attributes
    ----------
    volume
        Canonical: raw values, affine, spacing, modality.
    window
        The intensity window of the session: an offer, models may have their own idea.
    """

    volume: Volume
    window: Window


@dataclass(frozen=True, eq=False)
class VolumeMask:
    """What a `VolumeModel` answers: one object in a block of the canonical grid.

    Attributes
    ----------
    block
        Where; elsewhere the object is absent.
    logits : (z, y, x) float16
        On the block; > 0 is foreground.
    predicted_iou
        The model's own estimate, [0, 1]; 1 if it has none.
    reason
        Why nothing was found, if the model can tell.
    """

    block: Box3D
    logits: NDArray[np.float16]
    predicted_iou: float = 1.0
    reason: str = ""


class Watch(Protocol):
    """What long work tells, and asks: `sammed.engine.progress.Reporter` is one."""

    def check(self) -> None:
        """Raise `sammed.errors.Cancelled` if the user wants to stop; to be called often."""
        ...

    def advance(self, done: int, total: int | None = None) -> None:
        """Say how many steps of the present answer are done."""
        ...


class VolumeState(Protocol):
    """A volume that a `VolumeModel` has opened."""

    def answer(
        self,
        interactions: Sequence[Interaction],
        previous: VolumeMask | None,
        *,
        reporter: Watch,
    ) -> VolumeMask:
        """The object that the interactions describe.

        Parameters
        ----------
        interactions
            All that was said of it, in order.
        previous
            The answer to all of them but the last ones; ``None`` if there was none.
        reporter
            To be asked often whether to go on.
        """
        ...


@runtime_checkable
class VolumeModel(Protocol):
    """A model that takes the volume as a whole."""

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        ...

    def open(self, image: VolumeImage) -> VolumeState:
        """Look at a volume for the first time; called once a session."""
        ...


@runtime_checkable
class StructureModel(Protocol):
    """A model that knows structures by their names: what it was taught to find needs no prompt.

    ``spec.structures`` names them. What else is to be segmented, and corrections, are another
    model's: `prompted`.
    """

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        ...

    def prompted(self, name: str) -> ImageModel:
        """The model that answers prompts of an object of that name; the same one each time.

        ``spec.tuned`` has the names of which it is one that was taught to them.
        """
        ...

    def takes_blocks(self, name: str) -> bool:
        """Whether a 3D box of a structure is a prompt for `prompted`; else it limits it."""
        ...

    def find(self, image: VolumeImage, *, reporter: Watch) -> Mapping[str, VolumeMask]:
        """All structures of a volume, by name; they do not overlap.

        Parameters
        ----------
        image
            The volume.
        reporter
            To be asked often whether to go on.
        """
        ...


Model = ImageModel | VolumeModel | StructureModel
"""Whatever a session can work with; one that is both is asked slice by slice, see its recipe."""
