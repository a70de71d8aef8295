"""Things that nobody prompted: what is found of organs, polyps and glands, against floors.

``python -m benchmarks.everything`` measures all rows and prints their tables; ``python -m
benchmarks.everything ts_ct kvasir`` some of them. With ``--out FOLDER`` pictures are drawn there.
With ``--candidates`` it is counted how many references are among the candidates, before the model
is asked, without the dense networks and with them. Rows on data that is not there are skipped, with
the reason.

`ts_ct`, `ts_mr` and the phantom, the first six polyps and four of the pictures of glands were
looked at while this was built: what is measured on them may flatter. ``--skip 6 kvasir`` leaves
the six out. ``sammed train dense-recall`` counts the same on scenes that nothing was chosen by.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from sammed import io
from sammed.api import load_model
from sammed.cli.evaluate_things import table
from sammed.evaluation.case_run import load
from sammed.evaluation.manifest import Case, read_manifest
from sammed.evaluation.unprompted import Trial, tried
from sammed.everything.coarse import coarsened
from sammed.everything.found import Wishes
from sammed.everything.learned import learned_borders, picture_borders
from sammed.everything.recall import best_ious, recall_table
from sammed.everything.regions import Region
from sammed.everything.things import find_things
from sammed.everything.within import search_area
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume
from sammed.models.dense.borders import Borders
from sammed.synthesis.dense_pictures import DRAWN, make_picture
from sammed.training.validation import SEED

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"

Loaded = tuple[Case, Volume, dict[str, Region]]
Bool2 = NDArray[np.bool_]


def of_manifest(name: str) -> Iterator[Loaded]:
    """A case of the manifest; of volumes the structures from 5 ml on."""
    path = DATA / "cases.json"
    if not path.is_file():
        raise FileNotFoundError(f"no cases at {path}")
    case = next(case for case in read_manifest(path) if case.id == name)
    loaded = load(case)
    if loaded.volume is None:
        raise FileNotFoundError(loaded.error)
    ml = float(np.prod(loaded.volume.spacing)) / 1000
    targets = [loaded.target(value, label) for value, label in loaded.objects(0)]
    regions = {t.name: Region.of(t.reference) for t in targets if t is not None}
    yield case, loaded.volume, {n: r for n, r in regions.items() if r.size * ml >= 5}


def phantom() -> Iterator[Loaded]:
    """The sample's five organs."""
    case = Case("phantom", SAMPLE / "phantom_ct.nii.gz", SAMPLE / "phantom_labels.nii.gz")
    loaded = load(case)
    if loaded.volume is None:
        raise FileNotFoundError(loaded.error)
    targets = [loaded.target(value, label) for value, label in loaded.objects(0)]
    yield case, loaded.volume, {t.name: Region.of(t.reference) for t in targets if t is not None}


def pictures(folder: str, split: Callable[[Bool2], list[Bool2]]) -> Iterator[Loaded]:
    """Colour pictures with masks beside them."""
    images = sorted((DATA / folder / "images").glob("*"))
    if not images:
        raise FileNotFoundError(f"no pictures in {DATA / folder}")
    for image in images:
        (mask,) = (DATA / folder / "masks").glob(f"{image.stem}*")
        seen = np.asarray(Image.open(mask).convert("L"))
        volume = io.read(image)
        objects = {f"{n}": part for n, part in enumerate(split(seen > 127))}
        regions = {name: Region.of(part[None]) for name, part in objects.items()}
        yield Case(image.stem, image, mask, subject=image.stem), volume, regions


def whole(mask: Bool2) -> list[Bool2]:
    return [mask]


def parts(mask: Bool2) -> list[Bool2]:
    """Each connected part but specks, which JPEG leaves."""
    labelled, count = ndimage.label(mask)
    found = [labelled == n + 1 for n in range(count)]
    return [part for part in found if part.sum() >= 100]


def drawn() -> Iterator[Loaded]:
    """Drawn pictures that nothing was trained on or chosen by: what a person would outline."""
    affine = np.eye(4)[[2, 1, 0, 3]]
    for n, kind in enumerate([*DRAWN] * DRAWN_OF_A_KIND):
        picture = make_picture(np.random.default_rng((SEED, 12, n)), kind)
        if picture.salient is None:
            continue
        rgb = ndimage.zoom(
            picture.rgb * picture.inside[..., None], (ENLARGED, ENLARGED, 1), order=1
        )
        voxels = np.clip(rgb * 255, 0, 255).astype(np.uint8)
        outer = np.where(picture.inside & picture.salient, picture.outer[0], 0)
        fine = ndimage.zoom(outer, ENLARGED, order=0)
        masks = {str(v): fine == v for v in np.unique(fine) if v}
        large = {v: mask for v, mask in masks.items() if mask.sum() >= 400}
        regions = {v: Region.of(mask[None]) for v, mask in large.items()}
        if regions:
            case = Case(f"{kind}_{n}", Path(kind), Path(kind), subject=kind)
            yield case, Volume.from_array(voxels[None], affine), regions


DRAWN_OF_A_KIND, ENLARGED = 3, 3
"""Pictures of each kind, and by how much they are enlarged."""

ROWS: dict[str, tuple[Callable[[], Iterator[Loaded]], int]] = {
    "phantom": (phantom, 10),
    "ts_ct": (lambda: of_manifest("ts_ct"), 100),
    "ts_mr": (lambda: of_manifest("ts_mr"), 100),
    "kvasir": (lambda: pictures("polyp_kvasir", whole), 20),
    "drawn": (drawn, 20),
    "glas": (lambda: pictures("glas", parts), 100),
}
"""What is measured, and how many things are asked for."""


def measure(name: str, skip: int, limit: int, floors: bool) -> Trial:
    source, most = ROWS[name]
    models = {"compact": load_model("compact", device="cpu")}
    trial = Trial()
    for case, volume, references in islice(source(), skip, skip + limit if limit else None):
        trial.outcomes += tried(case, volume, references, models, floors, most)
    return trial


def measure_candidates(name: str, limit: int) -> str:
    """How many references are among the candidates, without the dense network and with it."""
    source, _ = ROWS[name]
    best: dict[str, list[NDArray[np.float64]]] = {}
    for n, (_case, volume, references) in enumerate(source()):
        if limit and n >= limit:
            break
        coarse = coarsened(volume, resolve_window("auto", volume), nothing)
        area = search_area("body", volume, coarse)
        masks = (coarse.from_fine(r.mask_in(volume.shape)) for r in references.values())
        known = [Region.of(mask) for mask in masks if mask.any()]
        flat = coarse.is_flat
        seen = picture_borders(coarse, area, nothing) if flat else learned_borders(coarse, nothing)
        ways: dict[str, Borders | None] = {
            "the image alone": None,
            "the dense network as well": seen,
        }
        for way, borders in ways.items():
            best.setdefault(way, []).append(best_ious(coarse, area, known, borders))
    return recall_table({way: np.concatenate(each) for way, each in best.items()})


def nothing() -> None:
    return None


def draw(name: str, out: Path, skip: int, limit: int) -> None:
    """Pictures of the first ten things of some images; of pictures the first one's outline alone.

    There green is the first thing, yellow what it should be.
    """
    from sammed.everything.table import painted
    from sammed.reporting.preview import draw_preview

    source, _ = ROWS[name]
    model = load_model("compact", device="cpu")
    out.mkdir(parents=True, exist_ok=True)
    for case, volume, references in islice(source(), skip, skip + limit):
        found = find_things(volume, model, Wishes(most=10))
        if volume.is_colour:
            outlined = volume.voxels[0].copy()
            for region, colour in [
                *((r, (255, 220, 0)) for r in references.values()),
                (found.things[0].region, (0, 255, 60)),
            ]:
                mask = region.mask_in(volume.shape)[0]
                outlined[mask ^ ndimage.binary_erosion(mask, iterations=3)] = colour
            picture = Image.fromarray(outlined)
        else:
            picture = draw_preview(volume, painted(found).labels, found.window)
        picture.convert("RGB").save(out / f"{case.id}.webp", quality=85)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"some of {', '.join(ROWS)}; default all")
    parser.add_argument("--limit", type=int, default=0, help="at most so many images of each row")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many images of each row")
    parser.add_argument("--no-floors", action="store_true", help="the model alone")
    parser.add_argument("--candidates", action="store_true", help="candidates alone, unasked")
    parser.add_argument("--out", type=Path, help="draw pictures there instead")
    asked = parser.parse_args(arguments)
    for name in asked.rows or ROWS:
        try:
            if asked.out:
                draw(name, asked.out, asked.skip, asked.limit or 6)
                continue
            if asked.candidates:
                print(f"\n{name}\n\n{measure_candidates(name, asked.limit)}", flush=True)
                continue
            began, worked = time.perf_counter(), time.process_time()
            trial = measure(name, asked.skip, asked.limit, not asked.no_floors)
            print(f"\n{name} ({ROWS[name][1]} things asked for)\n")
            print(table(trial.scores()).markdown())
            passed, work = time.perf_counter() - began, time.process_time() - worked
            print(f"\n{passed:.0f} s in all, {work:.0f} s of the processor", flush=True)
        except FileNotFoundError as error:
            print(f"{name}: skipped, {error}")


if __name__ == "__main__":
    main()
