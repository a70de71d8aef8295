"""What a model says of itself, so that the engine knows how to ask it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sammed.models.recipe import PLAIN, Recipe

Candidates = Literal["same object", "parts"]

PromptKinds = frozenset[str]
BOX_ONLY: PromptKinds = frozenset({"box"})
ALL_PROMPTS: PromptKinds = frozenset({"box", "points", "mask"})
VIEW_PROMPTS: PromptKinds = ALL_PROMPTS | {"scribble"}
VOLUME_PROMPTS: PromptKinds = ALL_PROMPTS | {"box3d", "scribble", "lasso"}


@dataclass(frozen=True)
class ModelSpec:
    """What the engine needs to know of a model before it feeds it.

    Attributes
    ----------
    name
        The registry name, ``"compact"``, ``"vit_b"``, ...
    view_size
        Length in view px of the longer side of a view; 0 for models that see no views.
    mask_size
        Side ``m`` of the ``(m, m)`` low-res logits; they cover the padded ``view_size`` square.
    zoom
        ``None``: a view is the whole slice (as a `TrackingModel` needs it). A factor: a view is a
        square, isotropic in mm, whose side is that many times the longer side of the prompt's box.
    context
        Number of neighbouring slices on each side that ``encode`` wants beside the slice.
    eight_bit
        Views are quantised to 256 levels before resizing, as the model was trained.
    prompts
        Which of ``"box"``, ``"points"``, ``"mask"``, ``"scribble"`` the model makes use of (without
        the last, strokes are points to it); of a `VolumeModel` which of `VOLUME_PROMPTS`.
    has_object_score
        ``ViewMask.present`` is learned, so that propagation may stop by it.
    calibrated
        ``ViewMask.predicted_iou`` and how large logits are say something (the baselines' do not:
        they are neither reported nor scored; their recipe is `BLUNT`).
    candidates
        What the masks of one answer are: ``"parts"``: an object, its parts and what it is a part
        of, as segment-anything's; ``"same object"``: guesses at one and the same, so that of a
        box without a mask prompt their mean is better than any.
    expensive_encode
        ``encode`` takes so long that embeddings are worth keeping on disk.
    batch
        How many views ``encode`` likes to take at once: more than 1 on a GPU.
    concurrent
        It may be asked from several threads at once, and answers each on that one.
    weights_hash
        SHA-256 of the weights (hex), empty for models without any; part of cache keys.
    embeds_as
        Of a model that embeds by another one's weights and has only its own way to decode: that
        one's ``weights_hash``, so that both find the same embeddings in a cache. Empty: it embeds
        by its own.
    variant
        What changes the numbers beside the weights, e.g. ``"bfloat16"``; part of cache keys.
    engine
        What runs the network, for the report: ``"torch"``, ``"openvino"``, ...; empty for models
        without any. All give the same embeddings, so that it is no part of cache keys.
    license
        Licence of the weights, for the report.
    ordered
        Whether the order in which an object's prompts were given changes the answer.
    recipe
        What the engine does with the model's answers.
    structures
        Names of objects that the model finds without a prompt → their values; see
        `StructureModel`.
    tuned
        Names of those, and of others, whose prompts are answered by weights that were taught to
        them; see `StructureModel.prompted`.
    """

    name: str
    view_size: int = 0
    mask_size: int = 0
    zoom: float | None = None
    context: int = 0
    eight_bit: bool = False
    prompts: PromptKinds = ALL_PROMPTS
    has_object_score: bool = False
    calibrated: bool = True
    candidates: Candidates = "parts"
    expensive_encode: bool = False
    batch: int = 1
    concurrent: bool = False
    weights_hash: str = ""
    embeds_as: str = ""
    variant: str = ""
    engine: str = ""
    license: str = ""
    ordered: bool = False
    recipe: Recipe = PLAIN
    structures: Mapping[str, int] = field(default_factory=dict)
    tuned: frozenset[str] = frozenset()
