"""nnInteractive behind the protocol: its own session does the work.

nnInteractive (Isensee et al. 2025, arXiv:2503.08373) sees 192 voxels along each axis round what
was said last, zooms out while the object goes on beyond that, and looks again closely at what has
changed. A session remembers the object so far and what was said of it; so several are kept, and an
object that was asked about before costs only what is new. What a session answers depends on what
it was told, and in which order, alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sammed.errors import InputError, ModelError, PromptError
from sammed.imaging.boxes import Box3D
from sammed.models.memory import check_memory
from sammed.models.nninteractive.network import Loaded, new_session
from sammed.models.nninteractive.saying import Step, steps_of, tell, turned
from sammed.models.protocols import ModelSpec, VolumeImage, VolumeMask, VolumeState, Watch
from sammed.models.recipe import BLUNT
from sammed.prompts import (
    BoxPrompt,
    Interaction,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
)

MOST_SESSIONS = 8
"""Objects whose sessions are kept; what was told to the others is told again."""

BYTES_A_VOXEL = 10
"""Of a volume: its copy as float32, another one while it is normalised, the mask, prompts."""

SEED = 0
"""Where a session looks again it draws at random; each prompt starts from here."""

SURE = 4.0
"""Logit of a voxel of the object: the session gives no probabilities."""

KINDS: dict[type[Interaction], tuple[str, str]] = {
    BoxPrompt: ("box", "bbox2d"),
    Box3D: ("box3d", "bbox3d"),
    PointPrompt: ("points", "points"),
    MaskPrompt: ("mask", "initial_label"),
    ScribblePrompt: ("scribble", "scribble"),
    LassoPrompt: ("lasso", "lasso"),
}
"""Of each kind of prompt its name in `ModelSpec.prompts`, and nnInteractive's."""


class NnInteractiveModel:
    """nnInteractive as a `VolumeModel`.

    Parameters
    ----------
    loaded
        The network and what it takes.
    name
        Name under which it is reported.
    weights_hash
        SHA-256 (hex) of the weights file.
    license
        Licence of the weights.
    device
        ``"cpu"``, ``"cuda"``.
    autozoom
        Look at more of the volume when an object reaches beyond what was seen of it.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        name: str = "nninteractive",
        weights_hash: str = "",
        license: str = "",
        device: str = "cpu",
        autozoom: bool = True,
    ) -> None:
        self.loaded, self._device, self._autozoom = loaded, device, autozoom
        self._spec = ModelSpec(
            name=name,
            prompts=frozenset(ours for ours, theirs in KINDS.values() if theirs in loaded.kinds),
            calibrated=False,
            weights_hash=weights_hash,
            variant="" if autozoom else "one zoom",
            engine="torch",
            license=license,
            ordered=True,
            recipe=BLUNT,
        )

    @property
    def spec(self) -> ModelSpec:
        """What the engine needs to know of this model."""
        return self._spec

    def open(self, image: VolumeImage) -> VolumeState:
        """The volume's raw values; its window is not used.

        Raises
        ------
        InputError
            If all voxels have one value.
        ModelError
            If there is no memory for the volume.
        """
        voxels = image.volume.voxels
        grey = voxels.mean(-1) if image.volume.is_colour else voxels
        check_memory(self.spec.name, BYTES_A_VOXEL * grey.size)
        values = np.ascontiguousarray(turned(grey), np.float32)
        if not np.isfinite(values).all() or values.min() == values.max():
            raise InputError(
                f"model {self.spec.name!r} cannot see this volume: all its voxels have one value, "
                "or some have none; expected an image"
            )
        return _Opened(self, values)

    def session(self) -> Any:
        """A new session of nnInteractive's with the network, without an image."""
        session = new_session(self._device, autozoom=self._autozoom)
        session.initialize_from_loaded_artifacts(self.loaded.artifacts)
        return session


@dataclass(eq=False)
class _Talk:
    """A session, and all that it was told of one object."""

    session: Any
    told: list[Step] = field(default_factory=list)
    may_undo: bool = False

    def lacks(self, wanted: Sequence[Step]) -> int | None:
        """How many steps bring it to what is wanted; ``None``: it was told something else."""
        n = len(self.told)
        if self.told == list(wanted[:n]):
            return len(wanted) - n
        if n > 1 and self.may_undo and self.told[:-1] == list(wanted[: n - 1]):
            return len(wanted) - n + 2
        return None

    def take_back(self) -> None:
        """The last step, by the session's own undo, which knows one."""
        if self.session.undo():
            self.told.pop()
            self.may_undo = False
        else:
            self.forget()

    def forget(self) -> None:
        """All that was told."""
        self.session.reset_interactions()
        self.told.clear()
        self.may_undo = False


@dataclass(eq=False)
class _Opened:
    """A volume with objects that are talked about, the last one last."""

    model: NnInteractiveModel
    values: NDArray[np.float32]
    talks: list[_Talk] = field(default_factory=list)

    def answer(
        self,
        interactions: Sequence[Interaction],
        previous: VolumeMask | None,
        *,
        reporter: Watch,
    ) -> VolumeMask:
        """The object, as the session has it after all that was said; ``previous`` is not needed.

        Raises
        ------
        PromptError
            If the network does not take a kind of prompt.
        ModelError
            If there is no memory for it.
        """
        self._check(interactions)
        wanted = steps_of(interactions, refines=self.model.loaded.refines)
        talk = self._talk(wanted)
        if talk.told != wanted[: len(talk.told)]:
            talk.take_back()
        with self._watched(reporter):
            for step in wanted[len(talk.told) :]:
                reporter.check()
                self._tell(talk, step)
        return _mask(turned(talk.session.target_buffer))

    def _check(self, interactions: Sequence[Interaction]) -> None:
        for said in interactions:
            kind, theirs = KINDS[type(said)]
            if kind not in self.model.spec.prompts:
                raise PromptError(
                    f"model {self.model.spec.name!r} takes no prompts of the kind {kind!r} "
                    f"({theirs}); expected {' or '.join(sorted(self.model.spec.prompts))}"
                )

    def _talk(self, wanted: Sequence[Step]) -> _Talk:
        """The talk from which what is wanted is nearest; a new one if none leads there."""
        near = [(lacks, talk) for talk in self.talks if (lacks := talk.lacks(wanted)) is not None]
        if near:
            talk = min(near, key=lambda pair: pair[0])[1]
            self.talks.remove(talk)
        elif len(self.talks) < MOST_SESSIONS:
            talk = _Talk(self._session())
        else:
            talk = self.talks.pop(0)
            talk.forget()
        self.talks.append(talk)
        return talk

    def _session(self) -> Any:
        """A session with the image; all sessions of a volume share one normalised copy of it."""
        session = self.model.session()
        session.set_image(self.values[None])
        session.set_target_buffer(np.zeros(self.values.shape, np.uint8))
        session._finish_preprocessing_and_initialize_interactions()
        if self.talks:
            session.preprocessed_image = self.talks[0].session.preprocessed_image
        return session

    def _tell(self, talk: _Talk, step: Step) -> None:
        """One step; what fails leaves the session as it was."""
        z, y, x = self.values.shape
        try:
            with _seeded():
                tell(talk.session, step, (z, y, x), self.model.loaded.thickness)
        except (RuntimeError, MemoryError) as error:
            if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                raise
            raise ModelError(
                f"no memory for model {self.model.spec.name!r} on this volume; close other "
                "programs, try --device cpu, or crop the volume"
            ) from None
        talk.told.append(step)
        talk.may_undo = True

    @contextmanager
    def _watched(self, reporter: Watch) -> Iterator[None]:
        """Ask before each run of the network whether to go on."""
        runs = 0

        def before(*_: object) -> None:
            nonlocal runs
            reporter.check()
            reporter.advance(runs)
            runs += 1

        network: torch.nn.Module = self.model.loaded.artifacts["network"]
        handle = network.register_forward_pre_hook(before)
        try:
            yield
        finally:
            handle.remove()


@contextmanager
def _seeded() -> Iterator[None]:
    """NumPy's own random numbers, from which the session draws, begin anew, and go on after."""
    state = np.random.get_state()
    np.random.seed(SEED)
    try:
        yield
    finally:
        np.random.set_state(state)


def _mask(found: NDArray[np.uint8]) -> VolumeMask:
    inside = found > 0
    block = Box3D.from_mask(inside)
    logits = np.where(inside[block.slices], SURE, -SURE).astype(np.float16)
    return VolumeMask(block, logits, reason="" if inside.any() else "the network found nothing")
