"""What happens to a prompt: the one place where it is decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from sammed.engine.channelwise import ChannelsStrategy
from sammed.engine.named import NamedStrategy
from sammed.engine.slicewise import SlicewiseStrategy
from sammed.engine.strategy import Scene, Strategy
from sammed.engine.volumewise import VolumewiseStrategy
from sammed.errors import InputError
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.volume import Volume
from sammed.models.protocols import (
    ImageModel,
    Model,
    StructureModel,
    TrackingModel,
    VolumeModel,
)
from sammed.views.embeddings import content_hash


def strategy_for(model: Model, scene: Scene) -> Strategy:
    """How objects of a volume are found with a model.

    A model of views is asked slice by slice: its recipe says what is done with the answers, a
    memory of slices takes the place of mask prompts, and what it sees of a 3D box as a whole, if
    it is a `VolumeModel` as well, is one more answer. A model of volumes alone is asked once. One
    that knows structures by name is asked once for all of them, and its companion for the rest.
    Where a volume has channels, all this is done in each, and the answers are joined.

    Parameters
    ----------
    model
        Of any kind.
    scene
        The volume, and how to segment.

    Raises
    ------
    InputError
        If the model is of no kind, or a setting makes no sense with it.
    """
    settings = scene.settings
    if scene.volume.channels:
        return _by_channel(model, scene)
    if isinstance(model, TrackingModel) and (settings.stride > 1 or settings.zoom != "auto"):
        raise InputError(
            f"model {model.spec.name!r} remembers one whole slice after another: it has no stride "
            "and no zoom; leave these settings out"
        )
    if isinstance(model, ImageModel):
        return SlicewiseStrategy(model, scene)
    if isinstance(model, VolumeModel):
        if settings.stride > 1 or settings.plane == "all" or settings.zoom != "auto":
            raise InputError(
                f"model {model.spec.name!r} sees the volume as a whole: it has no stride, no zoom "
                "and no planes to join; leave these settings out"
            )
        return VolumewiseStrategy(model, scene)
    if isinstance(model, StructureModel):
        return NamedStrategy(model, scene, lambda one: strategy_for(one, scene))
    raise InputError(
        f"{type(model).__name__} is no model: expected encode and decode (a model of views) or "
        "open (a model of volumes), see sammed.models.protocols"
    )


def _by_channel(model: Model, scene: Scene) -> Strategy:
    if isinstance(model, StructureModel):
        raise InputError(
            f"model {model.spec.name!r} finds things by name in one image; channels are for "
            "prompts: give a box, or one channel alone"
        )
    first = replace(scene.volume, channels=())
    parts: dict[str, tuple[Scene, Strategy]] = {}
    for number, volume in enumerate((first, *scene.volume.channels)):
        name = volume.name or f"channel {number + 1}"
        own = scene.window if number == 0 else _window_of(volume, scene)
        kept = replace(scene, volume=volume, window=own, volume_hash=_hash_of(volume, scene))
        parts[name] = (kept, strategy_for(model, kept))
    return ChannelsStrategy(parts, scene.settings, model.spec.recipe)


def _window_of(volume: Volume, scene: Scene) -> Callable[[], Window]:
    """A channel's own window; of CT, whose values mean the same, the first one's.

    A window in numbers is the first one's: in another image the same numbers mean something else.
    """

    @cache
    def window() -> Window:
        if volume.modality == scene.volume.modality == "CT":
            return scene.window()
        wanted = scene.settings.window
        return resolve_window("auto" if "/" in wanted else wanted, volume)

    return window


def _hash_of(volume: Volume, scene: Scene) -> Callable[[], str]:
    """The identity of a channel's voxels, in a store that others share."""
    return cache(lambda: content_hash(volume.voxels) if scene.volume_hash() else "")
