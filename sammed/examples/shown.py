"""What other scans show of one, as a model: found by its name, prompts answered by a companion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

from sammed.imaging.volume import Volume
from sammed.models.protocols import (
    ImageModel,
    Model,
    ModelSpec,
    StructureModel,
    VolumeImage,
    VolumeMask,
    Watch,
)


class Shown(ABC):
    """A `sammed.models.protocols.StructureModel` that looks at each volume once.

    Parameters
    ----------
    spec
        What the engine needs to know of it.
    companion
        Answers prompts.
    """

    def __init__(self, spec: ModelSpec, companion: Model) -> None:
        self._spec = replace(spec, tuned=companion.spec.tuned)
        self._companion = companion
        self._last: tuple[Volume | None, Mapping[str, VolumeMask]] = (None, {})

    @property
    def spec(self) -> ModelSpec:
        """See `sammed.models.protocols.StructureModel`."""
        return self._spec

    def prompted(self, name: str) -> ImageModel:
        """The model that answers prompts."""
        if isinstance(self._companion, StructureModel):
            return self._companion.prompted(name)
        return self._companion  # type: ignore[return-value]  # a model of volumes is asked as well

    def takes_blocks(self, name: str) -> bool:
        """No: a 3D box limits what is shown."""
        return False

    def find(self, image: VolumeImage, *, reporter: Watch) -> Mapping[str, VolumeMask]:
        """See `sammed.models.protocols.StructureModel`."""
        if self._last[0] is not image.volume:
            self._last = image.volume, self._found(image, reporter)
        return self._last[1]

    @abstractmethod
    def _found(self, image: VolumeImage, reporter: Watch) -> dict[str, VolumeMask]:
        """All structures of a volume, by name."""
