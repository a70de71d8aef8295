"""Protocol E: no prompt and no name; how many of the references are among what is proposed.

Average recall over IoU 0.5 to 0.95 within the first proposals is that of COCO (Hosang et al. 2016,
What makes for effective detection proposals?, doi:10.1109/TPAMI.2015.2465908). Beside the models
stand floors: connected parts of a two-class image, supervoxels, and random boxes of the references'
own sizes.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed.errors import SegmentationError
from sammed.evaluation.case_run import load
from sammed.evaluation.manifest import Case
from sammed.everything.coarse import Coarse, coarsened, require_skimage
from sammed.everything.found import Wishes
from sammed.everything.regions import Region
from sammed.everything.things import find_things
from sammed.imaging.boxes import Box3D
from sammed.imaging.geometry import voxel_volume_ml
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume
from sammed.models.protocols import Model

WITHIN = (10, 50, 200)
"""So many proposals are looked at for average recall."""

STEPS = np.arange(0.5, 0.96, 0.05)
"""IoU from which on a reference counts as found, averaged over."""

LARGE_ML = 5.0
"""Objects of volumes from this size on are also counted by themselves."""

SUPERVOXELS = 100
"""Of the floor of that name."""

FLOORS = ("components", "supervoxels", "random boxes")

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Object:
    """One reference and what became of it.

    Attributes
    ----------
    case, subject, name
        Which.
    ml
        Its volume; of pictures nothing is meant by it.
    ious : (n,)
        With each proposal, best first.
    flat
        Whether the image is a picture or a single slice.
    """

    case: str
    subject: str
    name: str
    ml: float
    ious: NDArray[np.float64]
    flat: bool

    def best(self, within: int | None = None) -> float:
        """Best IoU of the first proposals."""
        return float(self.ious[:within].max(initial=0.0))


@dataclass(frozen=True)
class Outcome:
    """What one source proposed for one case.

    Attributes
    ----------
    case, source
        Which case; a model or one of `FLOORS`.
    objects
        Its references.
    proposals, false
        How many, and how many of them have an IoU of 0.5 with no reference (things without a
        reference among them).
    single
        Of a picture: Dice of the first proposal alone with all references joined.
    seconds
        Without reading.
    error
        Why there is nothing.
    """

    case: str
    source: str
    objects: tuple[Object, ...] = ()
    proposals: int = 0
    false: int = 0
    single: float | None = None
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Score:
    """Means over objects of what one source proposed.

    Attributes
    ----------
    source, group
        Whose proposals; for which objects.
    objects
        How many.
    recall
        Average recall by number of proposals.
    best
        Mean best IoU.
    found, found_well
        Share with an IoU of 0.5 and of 0.75, within all proposals.
    within_100
        Share with an IoU of 0.5 within the first 100.
    best_of_20
        Mean best IoU within the first 20.
    false
        False proposals a case.
    single
        Mean Dice of the first proposal alone, of pictures.
    seconds
        A case.
    """

    source: str
    group: str
    objects: int
    recall: Mapping[int, float]
    best: float
    found: float
    found_well: float
    within_100: float
    best_of_20: float
    false: float
    single: float | None
    seconds: float


@dataclass
class Trial:
    """All outcomes, as they come.

    Attributes
    ----------
    outcomes
        One a case and source.
    """

    outcomes: list[Outcome] = field(default_factory=list)

    def scores(self) -> list[Score]:
        """One line a source, and one more for its large objects where there are small ones."""
        lines = []
        for source in dict.fromkeys(one.source for one in self.outcomes):
            own = [one for one in self.outcomes if one.source == source and not one.error]
            objects = [obj for one in own for obj in one.objects]
            large = [obj for obj in objects if not obj.flat and obj.ml >= LARGE_ML]
            lines += [_score(source, "all", objects, own)] if objects else []
            if large and len(large) < len(objects):
                lines.append(_score(source, f"from {LARGE_ML:g} ml", large, own))
        return lines


def run(
    cases: Sequence[Case],
    models: Mapping[str, Model],
    floors: bool,
    told: Told,
    most: int = max(WITHIN),
) -> Trial:
    """Propose for every case, by every model and floor.

    Parameters
    ----------
    cases
        With references.
    models
        By name.
    floors
        Whether the floors run, too.
    told
        Told of each case.
    most
        Proposals of each source.
    """
    trial = Trial()
    for n, case in enumerate(cases):
        told(case.id, n, len(cases))
        loaded = load(case)
        if loaded.volume is None:
            trial.outcomes.append(Outcome(case.id, "", error=loaded.error))
            continue
        references = {}
        for value, name in loaded.objects(0):
            target = loaded.target(value, name)
            if target is not None:
                references[name] = Region.of(target.reference)
        trial.outcomes += tried(case, loaded.volume, references, models, floors, most)
    return trial


def tried(
    case: Case,
    volume: Volume,
    references: Mapping[str, Region],
    models: Mapping[str, Model],
    floors: bool,
    most: int,
) -> list[Outcome]:
    """What each source proposes for one image; see `run`."""
    sources = _sources(case, volume, references, models, floors, most)
    return [
        _outcome(case, source, volume, references, propose) for source, propose in sources.items()
    ]


def _sources(
    case: Case,
    volume: Volume,
    references: Mapping[str, Region],
    models: Mapping[str, Model],
    floors: bool,
    most: int,
) -> dict[str, Callable[[], list[Region]]]:
    def by_model(model: Model) -> list[Region]:
        return [t.region for t in find_things(volume, model, Wishes(most=most)).things]

    made: dict[str, Callable[[], list[Region]]] = {
        name: lambda model=model: by_model(model)  # type: ignore[misc]
        for name, model in models.items()
    }
    if floors:
        rng = np.random.default_rng(zlib.crc32(case.id.encode()))
        sizes = [region.block.shape for region in references.values()]
        made["components"] = lambda: components(volume)[:most]
        made["supervoxels"] = lambda: supervoxels(volume)[:most]
        made["random boxes"] = lambda: random_boxes(volume, sizes, most, rng)
    return made


def _outcome(
    case: Case,
    source: str,
    volume: Volume,
    references: Mapping[str, Region],
    propose: Callable[[], list[Region]],
) -> Outcome:
    began = time.perf_counter()
    try:
        proposals = propose()
    except SegmentationError as error:  # nothing is an answer, too: nothing was found
        proposals = []
        if not str(error).startswith("no thing was found"):
            return Outcome(case.id, source, error=str(error))
    seconds = time.perf_counter() - began
    table = np.array(
        [[proposal.iou(ref) for proposal in proposals] for ref in references.values()]
    ).reshape(len(references), len(proposals))
    ml, flat = voxel_volume_ml(volume.affine), 1 in volume.shape
    objects = tuple(
        Object(case.id, case.subject, name, region.size * ml, ious, flat)
        for (name, region), ious in zip(references.items(), table, strict=True)
    )
    false = int(np.count_nonzero(table.max(0, initial=0.0) < STEPS[0]))
    single = _single(proposals, references, volume) if flat else None
    return Outcome(case.id, source, objects, len(proposals), false, single, seconds)


def _single(proposals: Sequence[Region], references: Mapping[str, Region], volume: Volume) -> float:
    """Dice of the first proposal with all references joined."""
    if not proposals:
        return 0.0
    whole = np.zeros(volume.shape, bool)
    for region in references.values():
        whole[region.block.slices] |= region.mask
    joined = Region.of(whole)
    return 2 * proposals[0].shared(joined) / (proposals[0].size + joined.size)


def _score(source: str, group: str, objects: Sequence[Object], own: Sequence[Outcome]) -> Score:
    best = np.array([obj.best() for obj in objects])
    recall = {n: float(np.mean([obj.best(n) >= STEPS - 1e-9 for obj in objects])) for n in WITHIN}
    singles = [one.single for one in own if one.single is not None]
    return Score(
        source,
        group,
        len(objects),
        recall,
        float(best.mean()),
        float((best >= 0.5).mean()),
        float((best >= 0.75).mean()),
        float(np.mean([obj.best(100) >= 0.5 for obj in objects])),
        float(np.mean([obj.best(20) for obj in objects])),
        float(np.mean([one.false for one in own])),
        float(np.mean(singles)) if singles else None,
        float(np.mean([one.seconds for one in own])),
    )


# -- floors ------------------------------------------------------------------------------------


def components(volume: Volume) -> list[Region]:
    """Connected parts of the bright and of the dark class of Otsu's threshold, largest first."""
    require_skimage()
    from skimage.filters import threshold_otsu

    coarse = _coarse(volume)
    image = coarse.image[0]
    bright = image > threshold_otsu(image) if image.min() < image.max() else image > image.min()
    regions = []
    for mask in (bright, ~bright):
        parts, _ = ndimage.label(mask)
        regions += _regions(parts)
    return [_fine(coarse, region) for region in sorted(regions, key=lambda r: -r.size)[:200]]


def supervoxels(volume: Volume) -> list[Region]:
    """SLIC supervoxels (Achanta et al. 2012, doi:10.1109/TPAMI.2012.120), largest first."""
    require_skimage()
    from skimage.segmentation import slic

    coarse = _coarse(volume)
    image = np.moveaxis(coarse.image, 0, -1)
    labels = slic(
        image, SUPERVOXELS, compactness=0.1, channel_axis=-1, spacing=coarse.spacing, start_label=1
    )
    found = sorted(_regions(labels), key=lambda r: -r.size)
    return [_fine(coarse, region) for region in found]


def random_boxes(
    volume: Volume,
    sizes: Sequence[tuple[int, int, int]],
    most: int,
    rng: np.random.Generator,
) -> list[Region]:
    """Boxes of the references' own sizes anywhere in the image."""
    boxes = []
    for n in range(most if sizes else 0):
        size = np.array(sizes[n % len(sizes)])
        low = rng.integers(0, np.array(volume.shape) - size + 1)
        block = Box3D(*(int(v) for v in (*low, *(low + size))))
        boxes.append(Region(block, np.ones(block.shape, bool)))
    return boxes


def _coarse(volume: Volume) -> Coarse:
    return coarsened(volume, resolve_window("auto", volume), lambda: None)


def _regions(labels: NDArray[np.integer]) -> list[Region]:
    found = ndimage.find_objects(labels)
    return [
        Region.of(labels[where] == n + 1, [one.start for one in where])
        for n, where in enumerate(found)
        if where is not None
    ]


def _fine(coarse: Coarse, region: Region) -> Region:
    block, logits = coarse.to_fine(region)
    return Region(block, np.asarray(logits > 0))
