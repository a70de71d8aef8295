"""Protocol X: a case is explained by other people's, as ``sammed segment --example`` does it.

The floors are what no registration and an affine one make of the first example.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed.evaluation.manifest import Case
from sammed.evaluation.protocols import EXAMPLES, FLOORS
from sammed.examples import model as example_models
from sammed.examples.carrying import Target, lay
from sammed.examples.library import Example
from sammed.imaging import registration as reg
from sammed.imaging.boxes import Box3D
from sammed.models.protocols import (
    ImageModel,
    Model,
    ModelSpec,
    VolumeImage,
    VolumeMask,
    Watch,
)


def chosen(case: Case, cases: Sequence[Case], seed: int = 0) -> list[Case]:
    """The examples of a case: other people's cases with a label of its, drawn by chance.

    Parameters
    ----------
    case
        To be segmented.
    cases
        Of the cohort; those of the same subject are never taken.
    seed
        Of the draw, which depends on the case alone otherwise.
    """
    names = set(case.labels.values())
    others = [
        one
        for one in cases
        if one.subject != case.subject and one.id != case.id
        if not names or names & set(one.labels.values())
    ]
    rng = np.random.default_rng([seed, zlib.crc32(case.id.encode())])
    return [others[n] for n in rng.permutation(len(others))[: max(EXAMPLES)]]


def models_for(
    case: Case, cases: Sequence[Case], companion: ImageModel, seed: int = 0
) -> Mapping[str, Callable[[], Model]]:
    """What segments a case, by the variant of protocol X; made when it is asked for.

    Parameters
    ----------
    case, cases, seed
        See `chosen`.
    companion
        Whose look is joined.
    """
    examples = [_example(one) for one in chosen(case, cases, seed)]
    wanted = {name: key for key, name in case.labels.items() if isinstance(key, int)}

    def explained(count: int) -> Model:
        taking = example_models.Taking(most=count, threads=1, keep=False, chosen=False)
        return example_models.ExampleModel(examples[:count], companion, wanted, taking)

    made: dict[str, Callable[[], Model]] = {
        f"examples {count}": cache(lambda count=count: explained(count)) for count in EXAMPLES
    }
    for floor in FLOORS:
        made[floor] = cache(lambda floor=floor: Floor(examples[0], wanted, companion, floor))
    return made


class Floor:
    """An example's labels as they are, or after an affine transform: what is to be beaten.

    Parameters
    ----------
    example
        The one.
    wanted
        Name → value.
    companion
        Answers prompts, which there are none of.
    how
        One of `sammed.evaluation.protocols.FLOORS`.
    """

    def __init__(
        self, example: Example, wanted: Mapping[str, int], companion: ImageModel, how: str
    ) -> None:
        self._example, self._companion, self._how = example, companion, how
        shown = example.values(wanted)
        self._values = {name: v for name, v in shown.items() if not wanted or name in wanted}
        self._spec = ModelSpec(name=how, calibrated=False, structures=self._values)

    @property
    def spec(self) -> ModelSpec:
        """See `sammed.models.protocols.StructureModel`."""
        return self._spec

    def prompted(self, name: str) -> ImageModel:
        """The companion."""
        return self._companion

    def takes_blocks(self, name: str) -> bool:
        """A 3D box limits what is found."""
        return False

    def find(self, image: VolumeImage, *, reporter: Watch) -> Mapping[str, VolumeMask]:
        """See `sammed.models.protocols.StructureModel`."""
        volume, (moving, labels) = image.volume, self._example.read
        target = Target.of(volume)
        if self._how == "copied":
            there = reg.middles(target.grey, reg.grey(moving))
        else:
            there = lay(target, moving, reporter.check).alignment
        moved = there.carry(labels.voxels, moving.affine, volume.affine, volume.shape, nearest=True)
        return {name: _mask(moved == value) for name, value in self._values.items()}


@cache
def source_hash() -> str:
    """SHA-256 (hex) of the source of what examples go through beside the engine."""
    digest = hashlib.sha256()
    for path in sorted(Path(example_models.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _example(case: Case) -> Example:
    names = {key: name for key, name in case.labels.items() if isinstance(key, int)}
    return Example(case.id, case.image, case.label, case.subject, names, modality=case.modality)


def _mask(mask: NDArray[np.bool_]) -> VolumeMask:
    if not mask.any():
        return VolumeMask(Box3D(0, 0, 0, 0, 0, 0), np.zeros((0, 0, 0), np.float16), 0.0)
    box = Box3D.from_mask(mask)
    return VolumeMask(box, np.where(mask[box.slices], 4, -4).astype(np.float16))
