"""What happens to a prompt: the one place where it is decided."""

from __future__ import annotations

from sammed.engine.named import NamedStrategy
from sammed.engine.slicewise import SlicewiseStrategy
from sammed.engine.strategy import Scene, Strategy
from sammed.engine.volumewise import VolumewiseStrategy
from sammed.errors import InputError
from sammed.models.protocols import (
    ImageModel,
    Model,
    StructureModel,
    TrackingModel,
    VolumeModel,
)


def strategy_for(model: Model, scene: Scene) -> Strategy:
    """How objects of a volume are found with a model.

    A model of views is asked slice by slice: its recipe says what is done with the answers, a
    memory of slices takes the place of mask prompts, and what it sees of a 3D box as a whole, if
    it is a `VolumeModel` as well, is one more answer. A model of volumes alone is asked once. One
    that knows structures by name is asked once for all of them, and its companion for the rest.

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
