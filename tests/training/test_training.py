from __future__ import annotations

import csv
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sammed.engine.box_fit import fit_box
from sammed.engine.decoding import SliceDecoder
from sammed.engine.slice_mask import SlicePrompt
from sammed.errors import InputError, UnreadableFileError, WeightsMismatchError
from sammed.evaluation.manifest import read_manifest
from sammed.models.compact.locator import load_locator
from sammed.models.compact.locator_net import LocatorArchitecture, LocatorNet
from sammed.models.compact.model import CompactModel, load_net
from sammed.models.compact.net import Architecture, CompactNet, input_planes
from sammed.models.compact.weight_files import load_difference
from sammed.models.protocols import ViewMask
from sammed.synthesis import draw_samples
from sammed.training import average
from sammed.training.average import average_weights
from sammed.training.blocks import inscribed_ellipsoid, validate_blocks
from sammed.training.checkpoint import export_weights, load_checkpoint
from sammed.training.commands import run_training
from sammed.training.losses import block_loss, compact_loss, mask_loss, taught_loss, true_iou
from sammed.training.plots import plot_metrics
from sammed.training.previews import previews_of
from sammed.training.prompts import add_clicks, first_prompts
from sammed.training.real_blocks import score_blocks, summarise_blocks
from sammed.training.real_cases import (
    case_objects,
    job_prompts,
    score_cases,
    slice_answer,
    slice_jobs,
    validate_real,
    write_scores,
)
from sammed.training.schedule import learning_rate
from sammed.training.speed import operations
from sammed.training.stream import StreamPlan, batches, make_chunk, pack, unpack
from sammed.training.task import BlocksTask
from sammed.training.trainer import Recipe, Trainer
from sammed.training.validation import (
    answers,
    dice,
    inscribed_ellipse,
    roc_area,
    validate_synthetic,
)
from sammed.views.embeddings import EmbeddingStore

TINY = Architecture((8, 8, 16, 16), (1, 1, 1, 1), (1, 1, 1), 4, 3)
PLAN = StreamPlan(seed=3, batch=4, chunk=16, window=2, replay=1.0)
RECIPE = Recipe(
    minutes=60, steps=4, seed=3, stream=PLAN, architecture=TINY, clicks=0.5, bfloat16=False
)


def losses(trainer):
    return [row["loss"] for row in trainer.history]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    trainer = Trainer(RECIPE, tmp_path_factory.mktemp("run"))
    trainer.run()
    return trainer


def test_a_run_leaves_checkpoint_and_weights(run):
    assert run.step == 4
    assert run.views == 16
    assert np.isfinite(losses(run)).all()
    assert run.checkpoint.is_file()
    assert (run.out / "compact.safetensors").is_file()
    assert not list(run.out.glob("*.part"))


def exported(path, seed, architecture=TINY):
    torch.manual_seed(seed)
    export_weights(path, CompactNet(architecture).state_dict(), architecture.tag)
    return str(path)


def test_averaged_weights_lie_where_the_shares_say(tmp_path):
    one, two = exported(tmp_path / "a.safetensors", 1), exported(tmp_path / "b.safetensors", 2)
    average_weights({one: 1, two: 3}, tmp_path / "mean.safetensors")
    first, second, mean = (
        load_net(tmp_path / f"{name}.safetensors")[0].state_dict() for name in ("a", "b", "mean")
    )
    key = "masks.weight"
    assert not torch.allclose(first[key], second[key])
    torch.testing.assert_close(mean[key], first[key] / 4 + second[key] * 3 / 4, atol=2e-3, rtol=0)
    average_weights({one: 2}, tmp_path / "same.safetensors")
    torch.testing.assert_close(load_net(tmp_path / "same.safetensors")[0].state_dict(), first)


def test_the_locators_weights_are_averaged_in_eight_bits(tmp_path):
    shape = LocatorArchitecture((8, 8, 8), (1, 1, 1))
    paths = {}
    for seed in (1, 2):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        export_weights(path, LocatorNet(shape).state_dict(), shape.tag)
        paths[str(path)] = 1.0
    average_weights(paths, tmp_path / "mean.safetensors", locator=True)
    first, second, mean = (
        load_locator(tmp_path / f"{n}.safetensors")[0].state_dict() for n in (1, 2, "mean")
    )
    key = "stem.0.weight"
    torch.testing.assert_close(mean[key], (first[key] + second[key]) / 2, atol=1e-3, rtol=0)
    with pytest.raises(WeightsMismatchError, match="locator-unet"):
        average_weights(paths, tmp_path / "wrong.safetensors")


def test_weights_that_cannot_be_averaged_are_a_clear_error(tmp_path):
    one = exported(tmp_path / "a.safetensors", 1)
    other = exported(tmp_path / "b.safetensors", 1, replace(TINY, fine=8))
    with pytest.raises(InputError, match="different architectures"):
        average_weights({one: 1, other: 1}, tmp_path / "mean.safetensors")
    for shares in ({}, {one: 0.0}, {one: 1.0, "shipped": -0.5}):
        with pytest.raises(InputError, match="shares > 0"):
            average_weights(shares, tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()
    with pytest.raises(InputError, match="exists"):
        average_weights({one: 1}, tmp_path / "b.safetensors")


def test_averaging_on_the_command_line_answers_in_one_line(tmp_path, monkeypatch, capsys):
    one, out = exported(tmp_path / "a.safetensors", 1), tmp_path / "mean.safetensors"

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["average", str(out), *arguments])
        average.main()

    run(f"{one}=0.5", f"{exported(tmp_path / 'b.safetensors', 2)}=0.5")
    assert load_net(out)[0].architecture == TINY
    with pytest.raises(SystemExit, match=r"error: .*exists"):
        run(f"{one}=1")
    run(f"{one}=1", "--force")
    with pytest.raises(SystemExit, match=r"error: .*nowhere"):
        run(f"{tmp_path / 'nowhere'}=1", "--force")
    for wrong in ("half", f"{one}=half"):
        with pytest.raises(SystemExit):
            run(wrong)
        assert "half" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_losses(run, tmp_path):
    again = Trainer(RECIPE, tmp_path)
    again.run()
    assert losses(again) == losses(run)


def test_a_resumed_run_goes_on_as_if_never_stopped(run, tmp_path):
    first = Trainer(replace(RECIPE, steps=2), tmp_path)
    first.run()
    second = Trainer(RECIPE, tmp_path)
    second.resume(first.checkpoint)
    assert second.step == 2
    second.run()
    assert losses(first) + losses(second) == pytest.approx(losses(run), rel=1e-5)


def test_a_taught_run_stays_nearer_to_its_teacher(tmp_path):
    """From the teacher's weights at a high rate: what it answers drifts less when it is taught."""
    weights = exported(tmp_path / "teacher.safetensors", 1)
    batch = unpack(pack(np.random.default_rng(1), make_chunk(7, 0, 16)))
    target = torch.from_numpy(batch.target).float()
    with torch.no_grad():
        wanted = load_net(weights)[0](input_planes(batch.prompts))[0]
    away = {}
    for name, teacher in (("free", None), ("taught", weights)):
        recipe = replace(RECIPE, steps=40, rate=5e-3, clicks=0.0, teacher=teacher)
        trainer = Trainer(recipe, tmp_path / name)
        trainer.start_from(load_net(weights)[0].state_dict())
        trainer.run()
        logits, _, _ = trainer.net.eval()(input_planes(batch.prompts))
        away[name] = float(taught_loss(logits.detach(), wanted, target))
    assert away["taught"] < away["free"]


def test_a_teacher_is_believed_as_much_as_it_is_right():
    target = torch.zeros(1, 8, 8)
    target[:, :4] = 1
    right = (target[:, None] * 2 - 1) * 3
    half = right.clone()
    half[:, :, :2] = -3
    assert taught_loss(right, right, target) < taught_loss(right * 0.5, right, target)
    assert taught_loss(right, right, target) < taught_loss(right + 1, right, target)
    assert taught_loss(right, -right, target) == 0
    alone = taught_loss(half, right, target)
    assert taught_loss(right, half, target) == pytest.approx(float(alone) / 4, rel=0.05)


def test_training_on_boxes_alone_asks_with_nothing_else():
    """No points, no mask, no slice without the object; nothing of the kind by default."""
    plan = StreamPlan(seed=3, batch=16, chunk=32, window=1)
    for only in (True, False):
        batch = unpack(next(batches(replace(plan, boxes_only=only), 0)))
        boxes = torch.isfinite(batch.prompts.box).all(1)
        points = torch.isfinite(batch.prompts.points).any()
        assert bool(boxes.all() and not points and not batch.prompts.has_mask.any()) == only
        assert (set(batch.modes) <= {"own", "whole"}) == only
        assert batch.target.any((1, 2)).all() == only


def test_the_locator_has_no_teacher_and_no_other_prompts(tmp_path):
    for given in ({"teacher": "shipped"}, {"boxes_only": True}):
        with pytest.raises(InputError, match="--teacher and --boxes-only"):
            run_training(model="locator", out=tmp_path, **given)


def test_a_difference_from_weights_of_another_shape_is_a_clear_error(tmp_path):
    small = exported(tmp_path / "small.safetensors", 1)
    with pytest.raises(InputError, match="from the shipped weights; expected 'compact-unet"):
        average_weights({small: 1}, tmp_path / "boxes.safetensors", boxes=True)
    with pytest.raises(InputError, match="'locator-unet"):
        average_weights({"shipped": 1}, tmp_path / "b.safetensors", locator=True, boxes=True)
    assert [p.name for p in tmp_path.iterdir()] == ["small.safetensors"]


def test_a_mean_is_written_as_its_difference_from_the_shipped_weights(tmp_path, monkeypatch):
    base = exported(tmp_path / "base.safetensors", 1)
    other, out = exported(tmp_path / "other.safetensors", 2), tmp_path / "boxes.safetensors"
    monkeypatch.setattr("sammed.models.compact.model.WEIGHTS", tmp_path / "base.safetensors")
    monkeypatch.setattr("sys.argv", ["average", str(out), "shipped=1", f"{other}=1", "--boxes"])
    average.main()
    net, digest = load_net()
    mean = load_difference(net, out, "compact", digest)[0].state_dict()
    first, second = (load_net(path)[0].state_dict() for path in (base, other))
    for key in ("masks.weight", "masks.bias"):
        wanted = (first[key] + second[key]) / 2
        near = (first[key] - second[key]).abs().amax() / 2 / 7
        torch.testing.assert_close(mean[key], wanted, atol=float(near), rtol=0)
        assert not torch.allclose(mean[key], first[key], atol=float(near))


TINY_LOCATOR = BlocksTask(LocatorArchitecture((8, 8, 8), (1, 1, 1)))


def test_the_locator_is_trained_by_the_same_loop(tmp_path):
    """Repeatable, resumable, and its weights file loads."""
    recipe = replace(RECIPE, steps=3)
    first, again = (Trainer(recipe, tmp_path / name, TINY_LOCATOR) for name in ("a", "b"))
    first.run()
    again.run()
    assert losses(first) == losses(again)
    assert np.isfinite(losses(first)).all()
    short = Trainer(replace(recipe, steps=2), tmp_path / "c", TINY_LOCATOR)
    short.run()
    longer = Trainer(recipe, tmp_path / "c", TINY_LOCATOR)
    longer.resume(short.checkpoint)
    longer.run()
    assert losses(short) + losses(longer) == pytest.approx(losses(first), rel=1e-5)
    assert load_locator(tmp_path / "a" / "locator.safetensors")[0].architecture.widths == (8, 8, 8)
    with pytest.raises(UnreadableFileError, match="checkpoint of"):
        Trainer(recipe, tmp_path / "d").resume(short.checkpoint)


def test_a_perfect_block_has_less_loss_than_a_wrong_one():
    target = torch.zeros(2, 8, 8, 8)
    target[:, 2:6, 2:6, 2:6] = 1
    right, _ = block_loss((target - 0.5) * 20, target)
    shifted, parts = block_loss((target.roll(2, 1) - 0.5) * 20, target)
    assert right < 0.02 < 0.4 < shifted
    assert parts["iou_chosen"] == pytest.approx(1 / 3)


def test_validation_of_blocks_knows_the_ellipsoid():
    net = LocatorNet(LocatorArchitecture((8, 8, 8), (1, 1, 1))).eval()
    result = validate_blocks(net, 32)
    assert 0.4 < result["block_ellipsoid"] < 0.8
    assert 0 <= result["block"] <= 1
    volume = inscribed_ellipsoid(40).sum() / 30**3
    assert volume == pytest.approx(np.pi / 6, rel=0.02)


def test_a_checkpoint_that_is_none_is_a_clear_error(tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(UnreadableFileError, match="not a training checkpoint"):
        load_checkpoint(tmp_path / "bad.pt")


def test_another_model_cannot_be_trained(tmp_path):
    with pytest.raises(InputError, match="vit_b"):
        run_training(model="vit_b", out=tmp_path)


def test_metrics_are_written_with_one_header(run):
    run._record({"step": 1, "views": 4, "loss": 2.0})
    run._record({"step": 2, "views": 8, "loss": 1.0})
    with (run.out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["loss"] for r in rows][-2:] == ["2", "1"]


def test_batches_depend_on_seed_and_step_alone():
    stream = batches(PLAN, 0)
    ahead = [next(stream) for _ in range(6)]
    late = next(batches(PLAN, 5))
    for name, array in ahead[5].items():
        assert np.array_equal(array, late[name], equal_nan=array.dtype.kind == "f")
    assert not np.array_equal(ahead[0]["target"], ahead[1]["target"])


@pytest.fixture(scope="module")
def samples():
    return [s for seed in range(30) for s in draw_samples((9, seed), 6)]


def test_first_prompts_stay_inside_the_view_and_always_say_something(samples):
    rng = np.random.default_rng(0)
    prompts = first_prompts(rng, samples)
    points = prompts.points[torch.isfinite(prompts.points)]
    assert ((points >= 0) & (points <= 96)).all()
    has_box = torch.isfinite(prompts.box).all(1)
    has_point = torch.isfinite(prompts.points).all(2).any(1)
    filled = torch.tensor([bool(s.target.any()) for s in samples])
    assert (has_box | has_point | prompts.has_mask)[filled].all()
    assert has_box.any()
    assert has_point.any()
    assert prompts.has_mask.any()
    assert (~has_box).any()


def test_points_lie_on_the_side_that_they_claim(samples):
    prompts = first_prompts(np.random.default_rng(1), samples)
    for i, sample in enumerate(samples):
        for at, positive in zip(prompts.points[i], prompts.positive[i], strict=True):
            if torch.isfinite(at).all():
                row, col = int(at[0]), int(at[1])
                assert bool(sample.target[row, col]) == bool(positive)


def test_a_click_goes_into_the_largest_error():
    batch = unpack(pack(np.random.default_rng(0), make_chunk(0, 0, 4)))
    target = np.zeros((4, 96, 96), np.uint8)
    target[:, 20:60, 20:60] = 1
    answer = np.where(target > 0, 5.0, -5.0).astype(np.float32)
    answer[:, 25:35, 25:35] = -5
    answer[:, 100:103, 100:103] = 5
    points = torch.full_like(batch.prompts.points, float("nan"))
    bare = replace(batch.prompts, points=points)
    clicked = add_clicks(np.random.default_rng(0), bare, target, answer)
    assert clicked.has_mask.all()
    assert ((clicked.points[:, 0] >= 25) & (clicked.points[:, 0] <= 35)).all()
    assert clicked.positive[:, 0].all()


def test_the_loss_is_small_for_the_right_answer_and_for_rightly_nothing():
    target = torch.zeros(2, 32, 32)
    target[0, 8:20, 8:20] = 1
    right = (target * 2 - 1)[:, None] * 20
    good = mask_loss(right, target)
    assert good.max() < 0.01
    assert (mask_loss(-right, target) > 1).all()
    assert true_iou(right, target)[:, 0].tolist() == [1.0, 0.0]
    loss, parts = compact_loss(right, torch.zeros(2, 1), torch.zeros(2), target)
    assert torch.isfinite(loss)
    assert parts["iou_chosen"] == pytest.approx(1.0)


def test_the_rate_rises_stays_and_falls():
    assert learning_rate(1.0, 0, 0.0) < 0.01
    assert learning_rate(1.0, 500, 0.5) == 1.0
    assert learning_rate(1.0, 500, 0.8) < 1.0
    assert learning_rate(1.0, 500, 1.0) == pytest.approx(0.02)


def test_measures():
    a = np.zeros((4, 4), bool)
    assert dice(a, a) == 1.0
    a[0] = True
    assert dice(a, ~a) == 0.0
    assert roc_area([0.9, 0.8, 0.1], [True, True, False]) == 1.0
    assert np.isnan(roc_area([0.9], [True]))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return CompactNet(TINY).eval()


def test_the_synthetic_validation_measures_every_mode(net):
    measured = validate_synthetic(net, size=64)
    assert {"dice", "dice_single", "own", "whole", "next", "free", "absence_auc"} <= set(measured)
    assert 0.6 < measured["dice_ellipse"] < 0.95


def test_the_inscribed_ellipse_is_in_edge_coordinates():
    mask = inscribed_ellipse(np.array((10, 20, 30, 60), np.float32), 96)
    rows, cols = np.nonzero(mask)
    assert (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1) == (10, 20, 30, 60)
    assert mask.sum() == pytest.approx(np.pi * 10 * 20, rel=0.02)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """A bright ball, 24 voxels across, in a volume of (40, 36, 9) voxels of (1, 1, 3) mm."""
    folder = tmp_path_factory.mktemp("cases")
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (40, 36, 9)), indexing="ij"), -1)
    ball = (((grid - (20, 17, 4)) * (1, 1, 3)) ** 2).sum(-1) <= 12**2
    noise = np.random.default_rng(0).normal(100, 5, ball.shape)
    affine = np.diag((1.0, 1.0, 3.0, 1.0))
    image = nibabel.Nifti1Image((noise + 80 * ball).astype(np.float32), affine)
    nibabel.save(image, folder / "image.nii.gz")
    nibabel.save(nibabel.Nifti1Image(ball.astype(np.uint8), affine), folder / "label.nii.gz")
    case = {"id": "ball", "image": "image.nii.gz", "label": "label.nii.gz", "labels": {"1": "ball"}}
    case |= {"modality": "MR", "area": "test", "truth": "manual"}
    path = folder / "cases.json"
    path.write_text(json.dumps({"format": "sammed-cases/1", "cases": [case]}))
    return path


def test_real_cases_are_scored_beside_their_floor(net, manifest, tmp_path):
    scores, summary = score_cases(net, manifest)
    assert [s.name for s in scores] == ["ball"]
    assert scores[0].slices == 9
    assert scores[0].floor > 0.9
    assert summary["a_floor"] == summary["a_manual_floor"] == scores[0].floor
    write_scores(scores, tmp_path / "scores.csv")
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 2
    assert set(validate_real(net, manifest, 2)) >= {"real_a", "real_a_floor"}


def test_real_slices_are_answered_as_the_engine_answers_them(net, manifest, tmp_path):
    """The first look of the engine, its mask moved towards the box, is what is scored."""
    weights = tmp_path / "net.safetensors"
    export_weights(weights, net.state_dict(), net.architecture.tag, "a test")
    model = CompactModel(weights)
    ((_, stack, mask),) = case_objects(read_manifest(manifest)[0])
    jobs = [j for j in slice_jobs(stack, mask, 96, 3, np.random.default_rng(1)) if j.task == "a"]
    assert len(jobs) == 3
    loaded, _ = load_net(weights)
    logits, iou, _ = answers(loaded, job_prompts(stack, jobs))
    decoder = SliceDecoder(stack, model, EmbeddingStore())
    for job, candidates, judged in zip(jobs, logits, iou, strict=True):
        (answer,) = decoder.decode(job.view.index, [SlicePrompt(job.drawn)])
        here = fit_box(answer, job.drawn)
        there = slice_answer(job, ViewMask(candidates, judged), stack)
        np.testing.assert_allclose(here.logits, there.on(here.region), atol=2e-3)
        assert here.predicted_iou == pytest.approx(there.predicted_iou, abs=1e-4)


def test_real_3d_boxes_are_scored_beside_their_floor(manifest):
    """The ball fills its ellipsoid; what answers brightness finds it."""
    (score,) = score_blocks(lambda view: (view.image - 0.5) * 8, manifest)
    assert score.name == "ball"
    assert 0.85 < score.floor < 0.95
    assert score.dice > 0.99
    (nothing,) = score_blocks(lambda view: np.full_like(view.image, -4), manifest)
    assert nothing.dice == nothing.promised == 0
    summary = summarise_blocks([score, nothing])
    assert summary["block"] == pytest.approx(score.dice / 2)
    assert summary["block_ellipsoid"] == pytest.approx(score.floor)
    assert summary["promised_r"] == pytest.approx(1)


def test_previews_are_drawn(net, manifest):
    (preview,) = previews_of(net, read_manifest(manifest)[0])
    assert preview.picture.width == 2 * 96
    assert 0 <= preview.score <= 1


def test_the_plot_and_the_count_of_operations(run, tmp_path):
    run._record({"views": 10, "loss": 2.0, "mask": 1.0, "val_dice": 0.5})
    plot_metrics(run.out / "metrics.csv", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert 0.5 < operations(Architecture()) < 2.0


def test_the_command_explains_itself():
    import typer

    from sammed.cli.train import train

    app = typer.Typer()
    app.command()(train)
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "--minutes" in result.output
    assert "Example" in result.output
