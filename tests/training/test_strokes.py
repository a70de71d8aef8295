"""Training of the branch for strokes: cases as the engine asks, runs that repeat and go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sammed import cli
from sammed.engine.decoding import SliceDecoder
from sammed.engine.slice_mask import ClickedPoint, SlicePrompt, SliceStroke
from sammed.errors import InputError, UnreadableFileError
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models.checkpoints import digest
from sammed.models.compact.entry import WEIGHTS
from sammed.models.compact.model import CompactModel, load_net
from sammed.models.compact.net import Prompts
from sammed.models.compact.stroke_net import StrokeArchitecture
from sammed.models.protocols import VIEW_PROMPTS
from sammed.prompts.interactions import ScribblePrompt
from sammed.prompts.strokes import scribble_points
from sammed.synthesis.views import STROKED, draw_samples
from sammed.training import stroke_batches, stroke_task
from sammed.training.stream import StreamPlan
from sammed.training.stroke_batches import (
    KINDS_OF_CASE,
    Case,
    frozen_net,
    make_cases,
    mend,
    prompts_of,
    started,
    unpack,
)
from sammed.training.stroke_task import (
    StrokesOptions,
    StrokesTask,
    StrokesTrainer,
    train_strokes,
    validate_strokes,
)
from sammed.training.trainer import Recipe
from sammed.views.embeddings import EmbeddingStore
from sammed.views.slices import SliceStack
from tests.phantoms import StubModel, affine_of
from tests.training.networks import InlineStream, losses

pytestmark = pytest.mark.usefixtures("console")

SQUARE = affine_of((2.5, 0.8, 0.8), (0, 0, 0))
TINY = StrokeArchitecture((8, 8, 8, 8))
PLAN = StreamPlan(seed=3, batch=4, chunk=8, window=2, replay=1.0)
RECIPE = Recipe(minutes=60, steps=4, seed=3, stream=PLAN, bfloat16=False)


@pytest.fixture(scope="module")
def samples():
    found = [s for seed in range(6) for s in draw_samples((5, seed), 8, STROKED)]
    assert {"stroked", "own"} <= {s.mode for s in found}
    return found


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("sammed.training.trainer.Stream", InlineStream)


def run(out, steps=4, resume=None):
    trainer = StrokesTrainer(replace(RECIPE, steps=steps), out, StrokesTask(TINY))
    if resume:
        trainer.resume(resume)
    trainer.run()
    return trainer


def test_a_stroke_is_seen_as_the_engine_shows_it(samples):
    """The planes and points of a case are those that the engine makes of the same stroke."""
    asked = []
    for sample in samples:
        if sample.mode != "stroked":
            continue
        case = Case(sample, "alone")
        case.stroke(stroke_batches._view(sample), sample.stroke, True)
        r0, c0, r1, c1 = sample.rect
        tight = np.array([*sample.stroke.min(0), *(sample.stroke.max(0) + 1)])
        if min(r1 - r0, c1 - c0) <= 16 or not np.isclose(r1 - r0, c1 - c0):
            continue
        # the engine's own view of it: round the stroke, of the scale of the sample's
        model = StubModel(96, zoom=1.5, prompts=VIEW_PROMPTS)
        shape = tuple(int(v) + 4 for v in sample.stroke.max(0))
        volume = Volume.from_array(np.zeros((1, *shape), np.float32), SQUARE)
        stack = SliceStack(volume, "axial", Window(0, 1, "given"))
        zoom = (r1 - r0) / max(tight[2] - tight[0], tight[3] - tight[1])
        decoder = SliceDecoder(stack, model, EmbeddingStore(), zoom=zoom)
        line = ScribblePrompt(np.insert(sample.stroke, 0, 0, axis=1))
        points = tuple(ClickedPoint(p.at[1], p.at[2]) for p in scribble_points(line))
        prompt = SlicePrompt(
            Box2D(*(int(v) for v in tight)), points, strokes=(SliceStroke(sample.stroke),)
        )
        decoder.decode(0, [prompt])
        (seen,) = model.asked
        np.testing.assert_allclose(case.planes, seen.strokes, atol=1e-3)
        np.testing.assert_allclose([at for at, _ in case.points], seen.points, atol=1e-3)
        asked.append(seen)
    assert len(asked) > 3


def test_what_is_drawn_lies_where_it_should(samples):
    """Strokes in the object on it, beside it not; what mends an answer on what is wrong with it."""
    rng = np.random.default_rng(0)
    kinds = set()
    for sample in samples:
        case = started(rng, sample)
        kinds.add(case.kind)
        answer = np.full(sample.target.shape, -8.0, np.float32)
        answer[20:60, 30:70] = 8.0
        if case.kind == "mended":
            case.strokes, case.points = [], []
            mend(rng, case, answer)
            np.testing.assert_array_equal(case.mask, answer)
        target = sample.target > 0
        inside, beside = (plane > 0.9 for plane in case.planes)
        wide = np.pad(target, 6)
        near = np.zeros_like(wide)
        for dr in range(-4, 5):
            for dc in range(-4, 5):
                near |= np.roll(wide, (dr, dc), (0, 1))
        near = near[6:-6, 6:-6]
        if inside.any():
            assert (inside & near).sum() > 0.8 * inside.sum()
        if beside.any() and case.kind != "mended":
            assert (beside & ~target).sum() > 0.6 * beside.sum()
    assert kinds == set(KINDS_OF_CASE)


def test_cases_are_the_same_each_time_and_say_what_the_network_makes_of_them():
    first, again = (make_cases(4, 1, 6) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)
    other = make_cases(4, 2, 6)
    assert any(
        not np.array_equal(a["target"], b["target"]) for a, b in zip(first, other, strict=True)
    )
    shown, seen, target = unpack(stroke_batches.pack(np.random.default_rng(0), first))
    with torch.no_grad():
        for a, b in zip(frozen_net().look(shown[:, :16]), seen, strict=True):
            torch.testing.assert_close(a, b, rtol=0.02, atol=0.05)  # kept in half precision
    assert target.shape == (6, 96, 96)


def test_only_the_branch_learns(small, tmp_path):
    before = {k: v.clone() for k, v in frozen_net().state_dict().items()}
    trainer = run(tmp_path)
    assert np.isfinite(losses(trainer)).all()
    assert all(torch.equal(v, before[k]) for k, v in frozen_net().state_dict().items())
    assert trainer.net.on_half.weight.abs().max() > 0


@pytest.mark.thorough
def test_runs_repeat_and_go_on_as_if_never_stopped(small, tmp_path):
    whole = run(tmp_path / "whole")
    first = run(tmp_path / "first", steps=2)
    second = run(tmp_path / "second", resume=first.checkpoint)
    assert losses(first) + losses(second) == pytest.approx(losses(whole), rel=1e-4)
    assert second.views == whole.views == 16


def test_what_a_run_leaves_is_a_model_to_choose(small, tmp_path):
    trainer = run(tmp_path)
    path = trainer.out / "compact_strokes.safetensors"
    model = CompactModel(strokes=path)
    assert "scribble" in model.spec.prompts
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        about = file.metadata()
    assert about["base"] == digest(WEIGHTS, "sha256") == load_net()[1]
    assert "16 synthetic samples" in about["note"]


def test_a_branch_that_adds_nothing_is_as_good_as_points():
    branch = StrokesTask(TINY).network().eval()
    found = validate_strokes(branch, 32)
    assert found["dice"] == pytest.approx(found["points"])
    for kind in KINDS_OF_CASE:
        assert found[kind] == pytest.approx(found[f"{kind}_points"], nan_ok=True)
    assert 0.3 < found["dice"] < 1


@pytest.mark.thorough
def test_the_command_trains_says_how_it_went_and_how_to_go_on(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stroke_task, "StrokesTask", lambda: StrokesTask(TINY))
    monkeypatch.setattr(stroke_task.stream, "StreamPlan", lambda *given, **more: PLAN)
    monkeypatch.setattr(stroke_task, "validate_strokes", lambda net, size: {"dice": 0.5})
    out = tmp_path / "run"
    command = ["train", "strokes", "--steps", "3", "--out", str(out)]
    assert cli.main(command) == 0
    said = capsys.readouterr().err
    assert f"wrote {out / 'compact_strokes.safetensors'}" in said
    assert (out / "last.pt").is_file()
    assert cli.main([*command[:3], "5", "--out", str(out), "--resume", str(out / "last.pt")]) == 0
    assert "5 steps, 20 samples" in capsys.readouterr().err


@pytest.mark.thorough
def test_weights_are_scored_without_training(small, tmp_path, capsys):
    path = run(tmp_path).out / "compact_strokes.safetensors"
    assert cli.main(["train", "strokes", "--score", "--init", str(path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "| held back | three points a stroke | the stroke |"
    assert [line.split(" | ")[0] for line in told[2:]] == [
        "| a stroke alone", "| a box and a stroke", "| a stroke into what is wrong", "| all",
    ]  # fmt: skip
    none = str(tmp_path / "none.safetensors")
    assert cli.main(["train", "strokes", "--score", "--init", none]) != 0
    assert capsys.readouterr().err.count("\n") == 1


def test_bad_input_is_one_clear_line(small, tmp_path, monkeypatch):
    broken = tmp_path / "last.pt"
    broken.write_bytes(b"no checkpoint")
    with pytest.raises(UnreadableFileError, match=r"last\.pt is not a training checkpoint"):
        train_strokes(StrokesOptions(tmp_path, steps=1, resume=broken))
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    with pytest.raises(InputError, match="pip install"):
        train_strokes(StrokesOptions(tmp_path, steps=1))


def test_prompts_of_cases_keep_what_was_said(samples):
    cases = [started(np.random.default_rng(n), sample) for n, sample in enumerate(samples[:6])]
    prompts = prompts_of(cases)
    assert isinstance(prompts, Prompts)
    for i, case in enumerate(cases):
        count = int(torch.isfinite(prompts.points[i, :, 0]).sum())
        assert count == min(len(case.points), stroke_batches.MOST_POINTS)
        assert bool(torch.isfinite(prompts.box[i]).all()) == (case.box is not None)
        assert bool(prompts.has_mask[i]) == (case.mask is not None)
