"""Things that nobody prompted: the sample's organs, a picture's disc, and none where none is."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skimage", reason="everything mode needs scikit-image, the extra 'everything'")

from sammed import api, io
from sammed.cli import main
from sammed.errors import Cancelled, InputError, SegmentationError
from sammed.everything.candidates import Sizes, find_candidates
from sammed.everything.coarse import Coarse, coarsened
from sammed.everything.found import Wishes
from sammed.everything.regions import Region
from sammed.everything.table import painted, prompt_file, rows
from sammed.everything.things import find_things
from sammed.everything.within import frame
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume
from sammed.models.dense.borders import Borders
from sammed.models.registry import build
from tests.phantoms import SAMPLE, STRAIGHT, affine_of

CT = SAMPLE / "phantom_ct.nii.gz"


@pytest.fixture(scope="module")
def model():
    return build("compact", device="cpu")


@pytest.fixture(scope="module", autouse=True)
def few():
    """Of these pictures a third of the usual candidates shows all there is; each costs a view."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sammed.everything.things.ASKED_FLAT", 60)
        yield


def picture(colour: bool = False) -> Volume:
    """A bright disc with a dark spot in it, beside a square, on a noisy ground; one slice."""
    rng = np.random.default_rng(1)
    rows_, cols = np.mgrid[:96, :120]
    image = 60 + rng.normal(0, 3, (96, 120))
    image[(rows_ - 40) ** 2 + (cols - 45) ** 2 < 24**2] += 90
    image[(rows_ - 40) ** 2 + (cols - 45) ** 2 < 8**2] -= 60
    image[60:85, 85:110] += 50
    image = np.clip(image, 0, 255).astype(np.uint8)[None]
    if colour:
        image = np.stack([image, image // 2, image // 3], -1)
    return Volume.from_array(image, affine_of((2.5, 0.8, 0.8), (0, 0, 0)))


def disc(shape: tuple[int, ...]) -> Region:
    rows_, cols = np.mgrid[:96, :120]
    return Region.of(((rows_ - 40) ** 2 + (cols - 45) ** 2 < 24**2)[None])


@pytest.fixture(scope="module")
def found(model):
    return find_things(picture(), model, Wishes(most=10))


@pytest.mark.thorough
@pytest.mark.parametrize("colour", [False, True])
def test_a_disc_and_what_lies_in_it_are_found(model, found, colour):
    things = (find_things(picture(True), model, Wishes(most=10)) if colour else found).things
    whole = disc((1, 96, 120))
    best = max(things, key=lambda t: t.region.iou(whole))
    assert best.region.iou(whole) > 0.85
    spots = [t for t in things if t.parent == best.name]
    assert any(t.region.size < 400 for t in spots)


def test_scores_fall_and_names_count(found):
    scores = [thing.score for thing in found.things]
    assert scores == sorted(scores, reverse=True)
    assert [thing.name for thing in found.things] == [f"thing {n + 1}" for n in range(len(scores))]
    assert all(0 <= score <= 1 for score in scores)


def test_the_label_map_shows_the_smaller_and_says_what_is_hidden(found):
    shown = painted(found)
    for n, thing in enumerate(found.things):
        mine = shown.labels.voxels == n + 1
        lost = 1 - np.count_nonzero(mine) / thing.region.size
        assert shown.hidden.get(thing.name, 0.0) == pytest.approx(lost, abs=1e-4)
    child = next(t for t in found.things if t.parent)
    assert shown.hidden[child.parent] > 0
    smallest = min(found.things, key=lambda t: t.region.size)
    assert smallest.name not in shown.hidden


def test_a_thing_goes_on_as_an_object(model, found, tmp_path):
    """Its box in the prompt file, segmented as any prompt, gives much the same mask."""
    path = tmp_path / "things.prompts.json"
    path.write_text(json.dumps(prompt_file(found, "compact")))
    objects = api.gather_prompts(found.volume, files=(path,))
    assert [obj.name for obj in objects] == [thing.name for thing in found.things]
    session = api.make_session(found.volume, model, objects)
    session.segment()
    shared = [
        thing.region.iou(Region.of(session.object_mask(thing.name)))
        for thing in found.things[:4]
        if thing.name in session.runs and session.object_mask(thing.name).any()
    ]
    assert min(shared) > 0.6


def test_rows_say_where_in_the_file(found):
    row = rows(found)[0]
    region = found.things[0].region
    z, y, x = (np.argwhere(region.mask).mean(0) + region.block.low).tolist()
    ijk = found.volume.grid.file_index(np.array([z, y, x])).tolist()
    assert row["centre_ijk"] == pytest.approx(ijk, abs=0.06)
    assert row["volume_ml"] == pytest.approx(region.size * 2.5 * 0.8 * 0.8 / 1000, rel=1e-3)
    edge = region.block.y0 == 0 or region.block.x0 == 0
    edge = edge or region.block.y1 == 96 or region.block.x1 == 120
    assert row["touches_edge"] == edge


@pytest.mark.thorough
def test_the_most_and_the_least(model):
    few = find_things(picture(), model, Wishes(most=2)).things
    assert len(few) == 2
    least = 0.5  # ml: the spot has 0.3, the square 1.0
    large = find_things(picture(), model, Wishes(min_ml=least)).things
    assert min(t.region.size for t in large) * 2.5 * 0.64 / 1000 >= least / 2


@pytest.mark.thorough
def test_within_a_box_nothing_is_found_elsewhere(model):
    box = (80, 55, 0, 116, 90, 1)
    things = find_things(picture(), model, Wishes(within=box)).things
    low = [thing.region.block.low for thing in things]
    assert things
    assert min(x for _, _, x in low) >= 76
    with pytest.raises(InputError, match="3 numbers"):
        find_things(picture(), model, Wishes(within=(1, 2, 3)))
    with pytest.raises(InputError, match="no file"):
        find_things(picture(), model, Wishes(within="nowhere.nii.gz"))


@pytest.mark.thorough
def test_like_an_example(model, found):
    volume = picture()
    square = np.zeros(volume.shape, bool)
    square[0, 60:85, 85:110] = True
    plain = max(found.things, key=lambda t: t.region.iou(Region.of(square)))
    liked = find_things(volume, model, Wishes(most=10, like=(plain.prompts(volume),))).things
    assert liked[0].region.iou(Region.of(square)) > 0.7
    assert liked[0].likeness > liked[-1].likeness


PIXELS = affine_of((1.0, 1.0, 1.0), (0, 0, 0))


def endoscopic() -> Volume:
    """A disc of tissue with a bump, on black, with letters and an inset in the black."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:150, :190]
    rgb = np.zeros((150, 190, 3))
    shown = (y - 75) ** 2 + (x - 110) ** 2 < 72**2
    rgb[shown] = np.array((170, 90, 70)) + rng.normal(0, 4, (np.count_nonzero(shown), 3))
    rgb[(y - 70) ** 2 + (x - 120) ** 2 < 22**2] = (215, 130, 120)
    rgb[100:140, 4:40] = (30, 160, 60)
    rgb[10:16, 4:30:3] = 255
    return Volume.from_array(np.clip(rgb, 0, 255).astype(np.uint8)[None], PIXELS)


@pytest.mark.thorough
def test_a_black_frame_and_what_lies_in_it_are_no_things(model):
    found = find_things(endoscopic(), model, Wishes(most=20))
    y, x = np.mgrid[:150, :190]
    beyond = (y - 75) ** 2 + (x - 110) ** 2 > 76**2
    for thing in found.things:
        mask = thing.region.mask_in((1, 150, 190))[0]
        assert (mask & beyond).sum() < 0.1 * mask.sum()
    (note,) = found.notes
    share = float(((y - 75) ** 2 + (x - 110) ** 2 >= 72**2).mean())
    assert note.startswith(f"{share:.0%} of the picture") or abs(int(note[:2]) - 100 * share) <= 2


def test_black_within_a_picture_is_no_frame():
    picture = np.full((1, 60, 80, 3), 120, np.uint8)
    picture[:, 20:40, 30:50] = 0
    volume = Volume.from_array(picture, PIXELS)
    coarse = coarsened(volume, resolve_window("auto", volume), lambda: None)
    assert not frame(coarse).any()
    picture[:, :, :12] = 0
    volume = Volume.from_array(picture, PIXELS)
    coarse = coarsened(volume, resolve_window("auto", volume), lambda: None)
    assert frame(coarse).mean() == pytest.approx(12 / 80, abs=0.03)
    assert not frame(coarse)[0, 25:35, 35:45].any()


@pytest.mark.parametrize("kind", ["black", "one colour", "noise"])
@pytest.mark.usefixtures("console")
def test_a_picture_of_nothing_is_one_line(kind, tmp_path, capsys):
    noise = np.random.default_rng(6).integers(0, 255, (80, 90, 3))
    rgb = {"black": np.zeros_like(noise), "one colour": np.full_like(noise, 90)}.get(kind, noise)
    Image.fromarray(rgb.astype(np.uint8)).save(tmp_path / "nothing.png")
    out = tmp_path / "o.nii.gz"
    assert main(["propose", str(tmp_path / "nothing.png"), "-o", str(out), "-q"]) == 4
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert told[0].startswith("sammed: no thing was found")
    assert not out.exists()


@pytest.mark.thorough
def test_of_a_hundred_thousand_regions_few_are_taken_out():
    """A picture that is all texture, and a network that sees borders everywhere."""
    rng = np.random.default_rng(8)
    image = rng.random((3, 1, 200, 200), np.float32)
    flat = Coarse(image, np.eye(4), (1.0, 1.0, 1.0), (1, 200, 200))
    layers = [rng.random((1, 200, 200), np.float32) for _ in range(5)]
    area = np.ones((1, 200, 200), bool)
    found = find_candidates(flat, area, Sizes(4, 24000), 200, lambda: None, Borders(*layers))
    assert found.seen > 100_000
    assert len(found.candidates) <= 200
    assert len(found.pool) < 10_000


@pytest.mark.parametrize("kind", ["air", "one value", "noise", "flat noise"])
def test_where_nothing_is_nothing_is_found(model, kind):
    rng = np.random.default_rng(5)
    shape = (1, 90, 100) if kind == "flat noise" else (24, 40, 44)
    voxels = {
        "air": np.full(shape, -1000) + rng.normal(0, 12, shape),
        "one value": np.full(shape, 7.0),
    }.get(kind, rng.normal(100, 20, shape))
    volume = Volume.from_array(voxels.astype(np.int16), STRAIGHT)
    with pytest.raises(SegmentationError, match=r"no thing was found|no body") as caught:
        find_things(volume, model)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_it_stops_when_asked(model):
    asked = []

    def cancel() -> bool:
        asked.append(1)
        return len(asked) > 40

    with pytest.raises(Cancelled):
        find_things(picture(), model, cancel=cancel)


@pytest.mark.thorough
def test_a_stop_is_heard_within_half_a_second(model):
    """Of the processor's time, so that other work on the computer makes no difference."""
    times = [time.process_time()]

    def cancel() -> bool:
        times.append(time.process_time())
        return False

    find_things(endoscopic(), model, Wishes(most=5), cancel=cancel)
    assert np.diff(times).max() < 0.5


def test_models_that_cannot_judge_are_refused():
    with pytest.raises(InputError, match="cannot judge"):
        find_things(picture(), build("two_class", device="cpu"))


@pytest.mark.thorough
@pytest.mark.usefixtures("console")
def test_the_command_writes_all_files_and_overwrites_none(tmp_path, capsys):
    image, out = tmp_path / "slice.nii.gz", tmp_path / "things.nii.gz"
    io.write_volume(picture(), image)
    asked = ["propose", str(image), "-o", str(out), "--max", "4", "-q"]
    more = ["--table", str(tmp_path / "t.csv"), "--preview", str(tmp_path / "p.png")]
    assert main([*asked, *more]) == 0
    report = json.loads((tmp_path / "things.report.json").read_text())
    labels = io.read_labels(out)
    assert len(report["things"]) == 4 == len(np.unique(labels.voxels)) - 1
    assert (tmp_path / "t.csv").read_text().count("\n") == 5
    assert (tmp_path / "p.png").stat().st_size > 1000
    again = ["segment", str(image), "--prompts", str(tmp_path / "things.prompts.json")]
    assert main([*again, "-o", str(tmp_path / "again.nii.gz"), "-q"]) == 0
    assert main(asked) == 1
    assert "--force" in capsys.readouterr().err


@pytest.mark.usefixtures("console")
def test_the_command_says_in_one_line_that_there_is_nothing(tmp_path, capsys):
    noise = np.random.default_rng(2).normal(0, 9, (16, 30, 34)).astype(np.int16)
    image = tmp_path / "noise.nii.gz"
    io.write_volume(
        replace(picture(), voxels=noise, grid=Volume.from_array(noise, STRAIGHT).grid), image
    )
    assert main(["propose", str(image), "-o", str(tmp_path / "o.nii.gz")]) == 4
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("sammed: no thing was found")
    assert not (tmp_path / "o.nii.gz").exists()


@pytest.mark.usefixtures("console")
def test_options_of_projects_and_images_do_not_mix(tmp_path, capsys):
    assert main(["propose", str(CT), "-o", str(tmp_path / "o.nii.gz"), "--undo"]) == 1
    assert "projects" in capsys.readouterr().err
    (tmp_path / "project.toml").write_text("")
    assert main(["propose", str(tmp_path), "-o", str(tmp_path / "o.nii.gz")]) == 1
    assert "for images" in capsys.readouterr().err
    assert main(["propose", str(CT)]) == 1
    assert "-o things.nii.gz" in capsys.readouterr().err
