"""``sammed embed``: what it prepares is what segmenting asks for."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from sammed import api, cli, io
from sammed.cli.embed import embed
from sammed.engine.settings import Settings
from sammed.errors import InputError
from sammed.models import registry
from sammed.models.sam.network import ARCHITECTURES
from sammed.session import Session
from sammed.views.embeddings import store_for
from tests.models.networks import TINY, random_sam

SHAPE = (17, 13, 4)  # i, j, k


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(ARCHITECTURES, "vit_b", TINY)
    torch.save(random_sam(TINY, 1024).state_dict(), tmp_path / "tiny.pth")
    return tmp_path / "home"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    voxels = rng.integers(-100, 200, SHAPE).astype(np.int16)
    affine = np.diag([0.7, 0.8, 2.5, 1])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(embed)
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stderr


def test_segmenting_then_encodes_nothing(tmp_path: Path, image: Path) -> None:
    weights = str(tmp_path / "tiny.pth")
    said = run(str(image), "--model", weights, "--window", "soft-tissue")
    assert "axial: 4 slices encoded, 0 were kept already" in said
    model, volume = registry.build(weights), io.read(image)
    objects = api.gather_prompts(volume, boxes=["3,2,11,9@1", "3,2,11,9@2"], propagate="off")
    store = store_for(model.spec)
    session = Session(volume, model, Settings(window="soft-tissue"), store)
    for obj in objects:
        session.put(obj)
    session.segment()
    assert session.counts["encode"] == 0
    assert session.counts["decode"] == 2


def test_an_interrupted_run_goes_on(tmp_path: Path, image: Path) -> None:
    weights = str(tmp_path / "tiny.pth")
    assert "axial: 2 slices encoded" in run(str(image), "--model", weights, "--slices", "1:3")
    assert "axial: 2 slices encoded, 2 were kept" in run(str(image), "--model", weights)
    assert "coronal: 2 slices" in run(
        str(image), "--model", weights, "--plane", "coronal", "--slices", ":2"
    )


@pytest.mark.parametrize("slices", ["3:2", "9:", "a:b", "2"])
def test_slices_that_are_not_there(tmp_path: Path, image: Path, slices: str) -> None:
    with pytest.raises(InputError, match=r"no slices in .*within 0:4"):
        run(str(image), "--model", str(tmp_path / "tiny.pth"), "--slices", slices)


def test_models_that_have_nothing_to_prepare(image: Path) -> None:
    with pytest.raises(InputError, match="'box' has nothing to prepare"):
        run(str(image), "--model", "box")


def test_a_smaller_size_is_prepared_and_found_by_the_command(tmp_path: Path, image: Path) -> None:
    weights, out = str(tmp_path / "tiny.pth"), tmp_path / "o.nii.gz"
    sam = ("--model", weights, "--encode-size", "512", "--engine", "torch")
    run(str(image), *sam, "--window", "soft-tissue")
    boxes = ("--box", "3,2,11,9@1", "--propagate", "off", "--window", "soft-tissue")
    assert cli.main(["segment", str(image), *sam, *boxes, "-o", str(out)]) == 0
    report = json.loads((tmp_path / "o.report.json").read_text())
    assert report["model"]["view_size"] == 512
    assert report["model"]["engine"] == "torch"
    assert report["counts"] == {"encode": 0, "decode": 1}


def test_how_to_run_sam_is_no_option_of_other_models(image: Path) -> None:
    with pytest.raises(InputError, match="'box' has no option encode_size; expected none"):
        run(str(image), "--model", "box", "--encode-size", "512")


@pytest.mark.thorough
def test_the_doctor_times_an_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["doctor", "--model", str(tmp_path / "tiny.pth"), "--engine", "torch", "--json"]
    assert cli.main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"][0]["seconds_per_slice"] > 0
    assert set(found["packages"]["onnx"]) == {"onnxruntime", "onnx"}
    assert cli.main(["doctor", "--engine", "torch", "--json"]) == 0
    assert "compact" not in [m["name"] for m in json.loads(capsys.readouterr().out)["models"]]
