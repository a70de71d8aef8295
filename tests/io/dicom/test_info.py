"""``sammed info``: tables, JSON, and who is not named."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from sammed.cli import app, main
from sammed.io.dicom.images.read import survey
from tests.io.dicom.make_series import make_series, make_slice, oblique_affine, phantom, write
from tests.io.dicom.test_stacks import echo, make_repeated

IDENTIFYING = ("Doe", "Jane", "4711", "19500102", "20240229", "ACC-99", "House")


@pytest.fixture
def study(tmp_path):
    def window(ds, k):
        ds.WindowCenter, ds.WindowWidth, ds.WindowCenterWidthExplanation = "40", "400", "SOFT"

    make_series(tmp_path / "ct", edit=window)
    make_repeated(tmp_path / "mr", 2, echo, seed="2")
    make_series(tmp_path / "gap", seed="3", shape=(9, 7, 11), drop=[4])
    ds = make_slice(phantom()[0], oblique_affine(), 0, seed="4")
    ds.Modality = "SR"
    del ds.PixelData
    write(ds, tmp_path / "report")
    (tmp_path / "note.txt").write_text("hello")
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(app, ["info", *(str(a) for a in arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.usefixtures("console")
class TestDicom:
    def test_table(self, study):
        text = run(study).stdout
        lines = text.splitlines()
        assert lines[0].split()[:4] == ["index", "number", "modality", "description"]
        rows = {line.split()[2]: line for line in lines[1:5]}
        assert rows["CT"].split()[1] == "3"  # SeriesNumber
        assert set(rows) == {"CT", "MR", "SR"}
        assert "11 x 7 x 5" in text
        assert "0.7 x 0.8 x 2.5" in text
        assert "--frame 1: echo time 30 (5 slices)" in text
        assert "usable with --allow-gaps: 1 slice missing" in text
        assert "a report, not an image" in text
        assert "window: 400/40 SOFT" in text
        assert "transfer syntax: Explicit VR Little Endian" in text

    def test_json(self, study):
        document = json.loads(run(study, "--json").stdout)
        assert document["other_files"] == 1
        by_modality = {s["modality"]: s for s in document["series"]}
        assert len(document["series"]) == 4
        mr = by_modality["MR"]
        assert mr["usable"]
        assert mr["size"] == [11, 7, 5]
        assert mr["spacing_mm"] == pytest.approx([0.7, 0.8, 2.5], abs=1e-6)
        assert mr["orientation"] == "LPS"
        assert mr["images"] == 10
        assert mr["frames"] == ["echo time 20 (5 slices)", "echo time 30 (5 slices)"]
        assert not by_modality["SR"]["usable"]

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_patients_are_not_named(self, options, study):
        result = run(study, *options)
        assert not [word for word in IDENTIFYING if word in result.output]
        shown = run(study, "--phi", *options).output
        assert not [word for word in IDENTIFYING if word not in shown]

    def test_numbers_are_those_of_the_reader(self, study):
        assert [i.index for i in survey(study).series] == [1, 2, 3, 4]

    def test_nothing_there(self, tmp_path, capsys):
        assert main(["info", str(tmp_path)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "no DICOM file" in captured.err


@pytest.mark.usefixtures("console")
def test_nifti(tmp_path):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(385, dtype=np.int16).reshape(11, 7, 5), np.eye(4)), path)
    document = json.loads(run(path, "--json").stdout)
    assert document["size"] == [11, 7, 5]
    assert document["orientation"] == "RAS"
    assert (document["lowest"], document["highest"]) == (0, 384)
    text = run(path).stdout
    assert "size" in text
    assert "11 x 7 x 5" in text
