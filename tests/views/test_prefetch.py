from __future__ import annotations

import threading

import numpy as np
import pytest

from sammed.engine.decoding import SliceDecoder
from sammed.imaging.intensity import Window
from sammed.models.protocols import Embedding, ModelSpec, ViewBatch
from sammed.views.embeddings import EmbeddingStore
from sammed.views.prefetch import ViewRenderer
from sammed.views.slices import SliceStack, View, render_views
from tests.phantoms import StubModel, organ_volume

SPEC = ModelSpec("stub", 64, 16, expensive_encode=True, eight_bit=True)
SIZE = SPEC.view_size


class Watched(SliceStack):
    """Says which slices were asked for, and in which thread."""

    def __init__(self) -> None:
        super().__init__(organ_volume(), "axial", Window(-160, 240, "soft-tissue"))
        self.asked: list[tuple[int, bool]] = []
        self.another = threading.Event()

    def image(self, index: int) -> np.ndarray:
        beside = threading.current_thread() is not threading.main_thread()
        self.asked.append((index, beside))
        found = super().image(index)
        if beside:
            self.another.set()
        return found


@pytest.fixture
def stack() -> Watched:
    return Watched()


def whole(*indices: int) -> list[View]:
    return [View.whole(index, (40, 52), SIZE) for index in indices]


def test_what_was_rendered_ahead_is_what_would_be_rendered_now(stack: Watched) -> None:
    renderer = ViewRenderer(stack, SPEC)
    renderer.expect_next(whole(4))
    ahead = renderer.render(whole(5))
    assert stack.asked == [(5, True)]
    np.testing.assert_array_equal(ahead.pixels, render_views(stack, whole(5), SPEC).pixels)


@pytest.mark.parametrize(
    ("seen", "coming"),
    [
        ([[8], [7]], [6]),
        ([[4], [8]], [12]),
        ([[2, 3, 4]], [5, 6, 7]),
        ([[9, 8]], [7, 6]),
        ([[14, 15]], [16]),
        ([[1], [0]], []),
        ([[16]], []),
        ([[5], [5]], []),
    ],
)
def test_the_guess_goes_on_in_the_same_direction(
    stack: Watched, seen: list[list[int]], coming: list[int]
) -> None:
    renderer = ViewRenderer(stack, SPEC)
    for indices in seen:
        renderer.expect_next(whole(*indices))
        stack.another.wait(0.05)
    first = [i for i in stack.asked if i[1]]
    if coming:
        renderer.render(whole(*coming))
        assert [i for i, _ in stack.asked][-len(coming) :] == coming
        assert all(beside for _, beside in stack.asked)
    else:
        assert len(first) <= len(seen) - 1


def test_a_wrong_guess_costs_nothing_but_its_thread(stack: Watched) -> None:
    renderer = ViewRenderer(stack, SPEC)
    renderer.expect_next(whole(4))
    found = renderer.render(whole(11))
    np.testing.assert_array_equal(found.pixels, render_views(stack, whole(11), SPEC).pixels)
    assert (11, False) in stack.asked


class Waiting(StubModel):
    """A costly model whose encoding lasts until another slice has been rendered."""

    def __init__(self, stack: Watched, patience_s: float = 5.0, **spec: object) -> None:
        super().__init__(52, expensive_encode=True, **spec)
        self._stack, self._patience = stack, patience_s
        self.overlapped: list[bool] = []
        self.sizes: list[int] = []

    def encode(self, views: ViewBatch) -> list[Embedding]:
        self.overlapped.append(self._stack.another.wait(self._patience))
        self._stack.another.clear()
        self.sizes.append(len(views))
        return super().encode(views)


def test_rendering_overlaps_with_encoding(stack: Watched) -> None:
    model = Waiting(stack)
    decoder = SliceDecoder(stack, model, EmbeddingStore(), zoom=None)
    for view in [View.whole(i, (40, 52), model.spec.view_size) for i in (3, 4, 5)]:
        decoder.embed(view)
    assert model.overlapped == [True, True, True]
    assert [i for i, beside in stack.asked if not beside] == [3]


def test_a_batch_encodes_only_what_the_store_lacks(stack: Watched) -> None:
    model = Waiting(stack, patience_s=0, batch=4)
    decoder = SliceDecoder(stack, model, EmbeddingStore(), zoom=None)
    views = [View.whole(i, (40, 52), model.spec.view_size) for i in range(6)]
    alone = decoder.embed(views[2])
    together = decoder.embed_batch(views[1:5])
    assert model.sizes == [1, 3]
    assert together[1] is alone
    assert decoder.counts["encode"] == 4
    for view, embedding in zip(views[1:5], together, strict=True):
        expected = model.encode(render_views(stack, [view], model.spec))[0]
        for name, array in expected.arrays.items():
            np.testing.assert_array_equal(array, embedding.arrays[name])


def test_cheap_models_render_when_asked(stack: Watched) -> None:
    decoder = SliceDecoder(stack, StubModel(52), EmbeddingStore(), zoom=None)
    decoder.embed(View.whole(3, (40, 52), decoder.model.spec.view_size))
    assert stack.asked == [(3, False)]
