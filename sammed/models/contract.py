"""What the engine relies on, as checks: for the tests of whoever writes a model.

`check_model` runs them all. Sammed's own tests hold every built-in model to the same `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sammed.errors import ModelError, PromptError
from sammed.models.protocols import (
    VIEW_PROMPTS,
    VOLUME_PROMPTS,
    Embedding,
    ImageModel,
    Model,
    ModelSpec,
    StructureModel,
    TrackingModel,
    ViewBatch,
    ViewMask,
    ViewPrompt,
    VolumeModel,
)

TOLERANCE = 2e-4
"""How far logits of the same prompt may lie apart when other prompts are asked beside it."""


class ContractError(ModelError):
    """The model does not do what the engine relies on; the message says what, in one line."""


def check_model(model: object) -> None:
    """Check a model as the engine would use it.

    Parameters
    ----------
    model
        Of any of the protocols of `sammed.models.protocols`. Of a `VolumeModel` only the ``spec``
        is checked: what it answers shows on volumes alone.

    Raises
    ------
    ContractError
        At the first thing that is not as it must be.

    Examples
    --------
    >>> from sammed.models import registry
    >>> check_model(registry.build("ellipse"))
    """
    checked = check_protocol(model)
    check_spec(checked.spec)
    if isinstance(checked, ImageModel):
        for check in CHECKS:
            check(checked)
    if isinstance(checked, TrackingModel):
        check_memory(checked)


def check_protocol(model: object) -> Model:
    """Check that a model follows one of the protocols.

    Returns
    -------
    Model
        The model.

    Raises
    ------
    ContractError
        If it lacks something.
    """
    lacking = [name for name in ("spec", "encode", "decode") if not hasattr(model, name)]
    if not isinstance(model, (ImageModel, VolumeModel, StructureModel)):
        raise ContractError(
            f"{type(model).__name__} is no model: it lacks {' and '.join(lacking)}; expected "
            "spec, encode and decode, or spec and open"
        )
    tracking = [name for name in ("begin", "remember", "track") if not hasattr(model, name)]
    if 0 < len(tracking) < 3:
        raise ContractError(
            f"{type(model).__name__} lacks {' and '.join(tracking)}; expected all of begin, "
            "remember and track (a model with a memory of slices), or none"
        )
    if not isinstance(model.spec, ModelSpec):
        raise ContractError(
            f"spec is {type(model.spec).__name__}; expected sammed.models.protocols.ModelSpec"
        )
    return model


def check_name(model: Model, name: str) -> None:
    """Check that a model calls itself as its entry does: caches and reports go by that name.

    Raises
    ------
    ContractError
        If it does not.
    """
    _require(
        model.spec.name == name, f"spec.name is {model.spec.name!r}; expected {name!r}, the entry's"
    )


def check_spec(spec: ModelSpec) -> None:
    """Check that what a model says of itself makes sense.

    Raises
    ------
    ContractError
        If it does not.
    """
    known = VIEW_PROMPTS if spec.view_size else VOLUME_PROMPTS
    _require(bool(spec.name), "spec.name is empty; expected the registry name")
    _require(
        "box" in spec.prompts and spec.prompts <= known,
        f"spec.prompts are {sorted(spec.prompts)}; expected box, and some of {sorted(known)}",
    )
    _require(
        0 <= spec.mask_size <= spec.view_size,
        f"spec.mask_size is {spec.mask_size}; expected at most view_size, {spec.view_size}",
    )
    _require(
        spec.zoom is None or spec.zoom >= 1, f"spec.zoom is {spec.zoom}; expected None or >= 1"
    )
    _require(
        len(spec.weights_hash) in (0, 64),
        f"spec.weights_hash is {spec.weights_hash!r}; expected SHA-256 in hex, or empty",
    )


def check_encode(model: ImageModel) -> None:
    """One embedding a view, in order, whatever else is in the batch; views are left as they are."""
    views = [_pixels(model, brightness) for brightness in (0.2, 0.8, 0.2)]
    batch = _batch(model, views)
    before = batch.pixels.copy()
    together = model.encode(batch)
    _require(len(together) == 3, f"encode gives {len(together)} embeddings of 3 views; expected 3")
    _require(np.array_equal(batch.pixels, before), "encode changes the views that it is given")
    for view, embedding in zip(views, together, strict=True):
        _require(
            tuple(embedding.extent) == view.shape[1:],
            f"an embedding's extent is {embedding.extent}; expected the view's, {view.shape[1:]}",
        )
        alone = model.encode(_batch(model, [view]))[0]
        _require(alone.arrays.keys() == embedding.arrays.keys(), "embeddings hold different arrays")
        for name, array in alone.arrays.items():
            _require(
                isinstance(array, np.ndarray),
                f"array {name!r} of an embedding is {type(array).__name__}; expected numpy's",
            )
            _require(
                np.allclose(embedding.arrays[name], array, rtol=0, atol=1e-4),
                f"array {name!r} of a view's embedding changes with the views beside it",
            )


def check_answers(model: ImageModel) -> None:
    """Masks of the size that the model says, with scores that fit."""
    prompts = _prompts(model)
    answers = model.decode(_embedding(model), prompts)
    _require(
        len(answers) == len(prompts),
        f"decode gives {len(answers)} answers to {len(prompts)} prompts; expected one each",
    )
    for answer in answers:
        _check_answer(answer, model.spec)


def _check_answer(answer: ViewMask, spec: ModelSpec) -> None:
    logits, scores = answer.low_res_logits, answer.predicted_iou
    wanted = (spec.mask_size, spec.mask_size)
    _require(
        logits.ndim == 3 and logits.shape[1:] == wanted,
        f"low_res_logits are of shape {logits.shape}; expected (k, {wanted[0]}, {wanted[1]})",
    )
    _require(logits.dtype == np.float32, f"low_res_logits are {logits.dtype}; expected float32")
    _require(bool(np.isfinite(logits).all()), "low_res_logits are not finite")
    _require(
        scores.shape == (len(logits),),
        f"predicted_iou is of shape {scores.shape}; expected ({len(logits)},), one a candidate",
    )
    _require(bool(np.isfinite(scores).all()), "predicted_iou is not finite")
    _require(0 <= answer.present <= 1, f"present is {answer.present}; expected within [0, 1]")
    _require(
        spec.has_object_score or answer.present == 1,
        f"present is {answer.present}; expected 1, as spec.has_object_score is False",
    )
    _require(
        0 <= answer.best < len(logits),
        f"preferred is {answer.preferred}; expected the index of one of {len(logits)} candidates",
    )


def check_prompts_alone(model: ImageModel) -> None:
    """An answer depends on its own prompt alone, and is the same every time."""
    embedding, prompts = _embedding(model), _prompts(model)
    together = model.decode(embedding, prompts)
    backwards = model.decode(embedding, prompts[::-1])[::-1]
    for prompt, answer, again in zip(prompts, together, backwards, strict=True):
        alone = model.decode(embedding, [prompt])[0]
        _require_same(answer, again, "an answer changes with the order of the prompts")
        _require_same(answer, alone, "an answer changes with the prompts beside it")
        repeated = model.decode(embedding, [prompt])[0]
        _require_same(alone, repeated, "the same prompt gives another answer", 0)
    _require(len(model.decode(embedding, [])) == 0, "decode of no prompts gives answers")


def check_left_alone(model: ImageModel) -> None:
    """Decoding changes neither embedding nor prompts."""
    embedding, prompts = _embedding(model), _prompts(model)
    held = [*embedding.arrays.values(), *(a for p in prompts for a in _arrays_of(p))]
    before = [array.copy() for array in held]
    model.decode(embedding, prompts)
    unchanged = (np.array_equal(a, b) for a, b in zip(held, before, strict=True))
    _require(all(unchanged), "decode changes the embedding or the prompts that it is given")


def check_kept(model: ImageModel) -> None:
    """An embedding that was kept on disk, read-only arrays and nothing else, answers the same."""
    embedding, prompts = _embedding(model), _prompts(model)
    arrays = {
        name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape)
        for name, a in embedding.arrays.items()
    }
    kept = model.decode(Embedding(arrays, embedding.extent), prompts)
    for a, b in zip(model.decode(embedding, prompts), kept, strict=True):
        _require_same(a, b, "an embedding that was kept as plain arrays answers differently", 1e-5)


def check_shapes(model: ImageModel) -> None:
    """Grey and colour views are taken, square or not."""
    size = model.spec.view_size
    for channels in (1, 3):
        for shape in ((size, size), (size * 2 // 3, size), (size, size // 2)):
            pixels = np.full((channels, *shape), 0.5, np.float32)
            embedding = model.encode(_batch(model, [pixels]))[0]
            answer = model.decode(embedding, [ViewPrompt(box=_box(shape))])[0]
            _check_answer(answer, model.spec)


def check_refusals(model: ImageModel) -> None:
    """Prompts of a kind that the model does not know are refused, others answered."""
    embedding, size = _embedding(model), model.spec.view_size
    point = ViewPrompt(points=np.full((1, 2), size / 2, np.float32), positive=np.ones(1, bool))
    for prompt in (ViewPrompt(), point):
        usable = bool(prompt.kinds & model.spec.prompts)
        try:
            count = len(model.decode(embedding, [prompt]))
        except PromptError:
            _require(not usable, "decode refuses points; spec.prompts says that it takes them")
            continue
        kind = " and ".join(prompt.kinds) or "nothing"
        _require(
            usable and count == 1,
            f"decode answers a prompt of {kind}; expected PromptError, see check_prompts",
        )


def check_memory(model: TrackingModel) -> None:
    """A memory is a value, and what is tracked by it is an answer like any other.

    Raises
    ------
    ContractError
        If it is not.
    """
    _require(
        model.spec.zoom is None,
        f"spec.zoom is {model.spec.zoom}; expected None: a model with a memory sees whole slices",
    )
    first, second, third = model.encode(
        _batch(model, [_pixels(model, brightness) for brightness in (0.8, 0.75, 0.8)])
    )
    found = model.decode(first, _prompts(model)[:1])[0]
    shown = found.low_res_logits[found.best][None].copy()
    told = replace(found.only(found.best), low_res_logits=shown.copy())
    one = model.remember(model.begin(9), 4, first, told, prompted=True)
    kept = np.array_equal(told.low_res_logits, shown)
    _require(kept, "remember changes the mask that it is given")
    before = model.track(one, 5, second, direction=1)
    _check_answer(before, model.spec)
    elsewhere = ViewMask(np.full_like(shown, -8.0), told.predicted_iou)
    two = model.remember(one, 5, second, elsewhere, prompted=False)
    painted = ViewMask(np.full((1, 3, 3), 8, np.float32), np.ones(1, np.float32))
    model.remember(one, 6, third, painted, prompted=True)
    again = model.track(one, 5, second, direction=1)
    _require_same(before, again, "remember changes the memory that it is given, or track does")
    _check_answer(model.track(two, 6, third, direction=1), model.spec)
    _check_answer(model.track(one, 3, third, direction=-1), model.spec)


Check = Callable[[ImageModel], None]
CHECKS: tuple[Check, ...] = (
    check_encode,
    check_answers,
    check_left_alone,
    check_prompts_alone,
    check_kept,
    check_shapes,
    check_refusals,
)
"""What every `ImageModel` is held to; each raises `ContractError`."""


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ContractError(otherwise)


def _require_same(a: ViewMask, b: ViewMask, otherwise: str, tolerance: float = TOLERANCE) -> None:
    pairs = (
        (a.low_res_logits, b.low_res_logits),
        (a.predicted_iou, b.predicted_iou),
        (a.present, b.present),
    )
    _require(all(np.allclose(x, y, rtol=0, atol=tolerance) for x, y in pairs), otherwise)


def _pixels(model: ImageModel, brightness: float) -> NDArray[np.float32]:
    """A grey view, wider than high: a bright or dark ellipse in a noisy slope."""
    size = model.spec.view_size
    shape = (size * 2 // 3, size)
    rows, cols = np.mgrid[: shape[0], : shape[1]] / np.reshape(shape, (2, 1, 1)) - 0.5
    noise = np.random.default_rng(3).standard_normal(shape)
    image = 0.5 + 0.1 * cols + 0.02 * noise
    image[(rows / 0.2) ** 2 + (cols / 0.25) ** 2 < 1] += brightness - 0.5
    return np.clip(image, 0, 1).astype(np.float32)[None]


def _batch(model: ImageModel, views: Sequence[NDArray[np.float32]]) -> ViewBatch:
    pixels = np.stack(views)
    context = model.spec.context
    if not context:
        return ViewBatch(pixels)
    return ViewBatch(pixels, np.repeat(pixels.mean(1, keepdims=True), 2 * context, axis=1))


def _embedding(model: ImageModel) -> Embedding:
    return model.encode(_batch(model, [_pixels(model, 0.8)]))[0]


def _box(shape: tuple[int, int]) -> NDArray[np.float32]:
    return np.array([0.3, 0.25, 0.7, 0.75], np.float32) * np.array(shape * 2, np.float32)


def _prompts(model: ImageModel) -> list[ViewPrompt]:
    """Prompts of every mixture, a box among all of them."""
    size, m = model.spec.view_size, model.spec.mask_size
    box = _box((size * 2 // 3, size))
    other = box * np.float32(0.5)
    points = np.array([[0.33, 0.5], [0.05, 0.05]], np.float32) * size
    positive = np.array([True, False])
    mask = np.full((m, m), -6, np.float32)
    mask[m // 4 : m // 2, m // 4 : m // 2] = 6
    strokes = np.zeros((2, m, m), np.float32)
    strokes[0, m // 3, m // 4 : m // 2] = strokes[1, m // 20, : m // 8] = 1
    stroked = ViewPrompt(box, points, positive, strokes=strokes)
    return [
        *([stroked] if "scribble" in model.spec.prompts else []),
        ViewPrompt(box=box),
        ViewPrompt(box=other, mask=mask),
        ViewPrompt(box=box, points=points, positive=positive),
        ViewPrompt(box=other, points=points[:1], positive=positive[:1], mask=mask),
        ViewPrompt(box=other),
        ViewPrompt(box=box, mask=mask[::2, ::2].copy()),
    ]


def _arrays_of(prompt: ViewPrompt) -> list[NDArray[np.generic]]:
    held = (prompt.box, prompt.points, prompt.positive, prompt.mask, prompt.strokes)
    return [array for array in held if array is not None]
