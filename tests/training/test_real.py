"""The network on real volumes, beside the floor."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from sammed.cli import main
from sammed.engine.box_fit import fit_box
from sammed.engine.decoding import SliceDecoder
from sammed.engine.slice_mask import SlicePrompt
from sammed.evaluation.manifest import read_manifest
from sammed.models.compact.model import CompactModel, load_net
from sammed.models.compact.recipe import RECIPE
from sammed.models.protocols import ViewMask
from sammed.training.checkpoint import export_weights
from sammed.training.previews import previews_of
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
from sammed.training.validation import (
    answers,
)
from sammed.views.embeddings import EmbeddingStore


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
        here = fit_box(answer, job.drawn, RECIPE.box_fit)
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


def test_real_volumes_are_scored_and_shown(manifest, tmp_path, capsys):
    """The shipped weights, and the ball that they were never trained on."""
    cases, scores = str(manifest), tmp_path / "scores.csv"
    assert main(["train", "real-cases", cases, "--most", "1", "--csv", str(scores)]) == 0
    assert "| test | ball | ball | 1 |" in capsys.readouterr().out
    assert len(scores.read_text().splitlines()) == 2
    assert main(["train", "real-blocks", cases]) == 0
    assert "| ball | ball |" in capsys.readouterr().out
    shown = tmp_path / "shown.png"
    assert main(["train", "previews", cases, str(shown), "--case", "ball"]) == 0
    assert shown.stat().st_size > 1000
    assert main(["train", "previews", cases, str(shown), "--case", "no", "--force"]) == 1
    assert "nothing to show of no" in capsys.readouterr().err
