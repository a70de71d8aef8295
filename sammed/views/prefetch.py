"""Views rendered ahead: reading, windowing and resizing overlap with the model's encoding.

A model's network leaves the interpreter free, so one thread beside it is enough. What is rendered
ahead is a guess (the next slice in the same direction); a wrong one costs only that thread's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sammed.models.protocols import ModelSpec, ViewBatch
from sammed.views.slices import SliceStack, View, render_views

Views = tuple[View, ...]


class ViewRenderer:
    """Renders views for ``encode``, and meanwhile those that are likely to come next.

    Parameters
    ----------
    stack
        The slices.
    spec
        The model.
    """

    def __init__(self, stack: SliceStack, spec: ModelSpec) -> None:
        self._stack = stack
        self._spec = spec
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: tuple[Views, Future[ViewBatch]] | None = None
        self._last: int | None = None

    def render(self, views: Sequence[View]) -> ViewBatch:
        """Views of equal extent, rendered ahead or now."""
        if self._ahead and self._ahead[0] == tuple(views):
            return self._ahead[1].result()
        return render_views(self._stack, views, self._spec)

    def expect_next(self, views: Sequence[View]) -> None:
        """Begin with the slices that follow these in the direction of the last ones."""
        coming = self._following([view.index for view in views])
        self._last = views[-1].index
        if not coming:
            return
        size = self._spec.view_size
        ahead = tuple(View.whole(index, self._stack.shape, size) for index in coming)
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="sammed-views")
        self._ahead = ahead, self._thread.submit(render_views, self._stack, ahead, self._spec)

    def _following(self, indices: list[int]) -> list[int]:
        if len(indices) > 1:
            step = indices[-1] - indices[-2]
        else:
            step = indices[0] - (indices[0] - 1 if self._last is None else self._last)
        coming = [indices[-1] + step * (n + 1) for n in range(len(indices))] if step else []
        return [index for index in coming if 0 <= index < len(self._stack)]
