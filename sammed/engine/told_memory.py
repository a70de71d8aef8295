"""A tracking model's memory as the engine holds it, and its answers kept between runs.

What a memory holds follows from what it was told: masks of slices, in order. So it is known by a
digest of that, and made only when the model is asked. Where the same question was answered in a
former run, with the same weights on the same voxels, the answer lies on disk beside the embeddings:
a run that was stopped goes on where it was, and the same prompts once more cost no network at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sammed.models.protocols import Embedding, Memory, ViewMask
from sammed.views.embeddings import EmbeddingStore

ANSWERS_VERSION = 1
"""Raised whenever the same question would get another answer."""


@dataclass(frozen=True, eq=False)
class Step:
    """A mask that a memory is told.

    Attributes
    ----------
    index
        Of the slice.
    mask
        The object on it, one candidate.
    prompted
        Whether the user prompted it.
    """

    index: int
    mask: ViewMask
    prompted: bool


Tell = Callable[[Memory, Step], Memory]
"""The memory with one more step, computed by the model."""


class ToldMemory:
    """A memory by what it was told; a value, as the model's own is.

    Parameters
    ----------
    digest
        Of all that it was told.
    state
        The model's memory, or the one before and what it was told then.
    """

    def __init__(self, digest: bytes, state: tuple[Memory] | tuple[ToldMemory, Step]) -> None:
        self.digest = digest
        self._state = state

    @classmethod
    def of_nothing(cls, memory: Memory) -> ToldMemory:
        """A memory that was told nothing yet."""
        return cls(b"", (memory,))

    def told(self, step: Step) -> ToldMemory:
        """The memory with one more mask."""
        parts = hashlib.sha256(self.digest)
        mask = step.mask
        parts.update(f"{step.index} {step.prompted} {mask.present!r}".encode())
        for array in (mask.low_res_logits, mask.predicted_iou, mask.tokens):
            if array is not None:
                parts.update(f"{array.shape} {array.dtype.str}".encode())
                parts.update(np.ascontiguousarray(array).data)
        return ToldMemory(parts.digest(), (self, step))

    def made(self, tell: Tell) -> Memory:
        """The model's memory; what it was told is let go of once it is made."""
        state, steps = self._state, []
        while len(state) == 2:
            before, step = state
            steps.append(step)
            state = before._state
        memory = state[0]
        for step in reversed(steps):
            memory = tell(memory, step)
        self._state = (memory,)
        return memory


class KeptAnswers:
    """Answers of a memory on disk, in a folder of embeddings.

    Parameters
    ----------
    store
        Whose folder it is; without one nothing is kept.
    weights_hash
        Of the model; a model whose weights are not known by a digest keeps nothing.
    """

    def __init__(self, store: EmbeddingStore, weights_hash: str) -> None:
        self._disk = store.disk if weights_hash else None

    def get(self, view: str, memory: ToldMemory, direction: int) -> ViewMask | None:
        """What was answered on a view (its key in the store); ``None`` if it is not kept."""
        found = self._disk.read(_key(view, memory, direction)) if self._disk else None
        if found is None:
            return None
        arrays = {name: np.asarray(array) for name, array in found.arrays.items()}
        present, preferred = arrays["present_preferred"].tolist()
        return ViewMask(
            arrays["logits"],
            arrays["iou"],
            present,
            None if preferred < 0 else int(preferred),
            arrays.get("tokens"),
        )

    def put(self, view: str, memory: ToldMemory, direction: int, answer: ViewMask) -> None:
        """Keep an answer, unrounded."""
        if self._disk is None:
            return
        preferred = -1 if answer.preferred is None else answer.preferred
        arrays: dict[str, NDArray[np.generic]] = {
            "logits": answer.low_res_logits,
            "iou": answer.predicted_iou,
            "present_preferred": np.array([answer.present, preferred], np.float64),
        }
        if answer.tokens is not None:
            arrays["tokens"] = answer.tokens
        height, width = answer.low_res_logits.shape[1:]
        self._disk.write(_key(view, memory, direction), Embedding(arrays, (height, width)))


def _key(view: str, memory: ToldMemory, direction: int) -> str:
    """Beside the view's embedding, in a group of its own."""
    group, name = view.rsplit("/", 1)
    about = f"{ANSWERS_VERSION} {name} {memory.digest.hex()} {direction}"
    index = name.split("-", 1)[0]
    return f"{group}-answers/{index}-{hashlib.sha256(about.encode()).hexdigest()}"
