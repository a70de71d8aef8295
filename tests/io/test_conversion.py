from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from sammed import io
from sammed.cli.convert import convert as command
from sammed.errors import InputError, LabelError, OutputError
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.conversion import convert, files_written


@pytest.fixture
def image(tmp_path, volume):
    io.write_volume(volume, tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


@pytest.fixture
def organs(tmp_path, labels):
    io.write_labels(labels, tmp_path / "organs.nii.gz")
    return tmp_path / "organs.nii.gz"


def test_some_structures_alone(tmp_path, organs, labels):
    value, name = next((v, n) for v, n in labels.names.items() if (labels.voxels == v).any())
    app = typer.Typer()
    app.command()(command)
    arguments = [organs, "-o", tmp_path / "one.seg.nrrd", "--only", name.upper()]
    assert CliRunner().invoke(app, [str(a) for a in arguments]).exit_code == 0
    one = io.read_labels(tmp_path / "one.seg.nrrd")
    assert list(one.names.values()) == [name]
    np.testing.assert_array_equal(one.voxels != 0, labels.voxels == value)
    with pytest.raises(LabelError, match="nowhere"):
        convert(organs, [tmp_path / "none.nii.gz"], only=["nowhere"])
    io.write_volume(Volume.from_file_array(labels.file_array(), labels.grid), tmp_path / "i.nrrd")
    with pytest.raises(InputError, match="--only is for label maps: add --labels"):
        convert(tmp_path / "i.nrrd", [tmp_path / "o.nii.gz"], only=["liver"])


@pytest.mark.parametrize("suffix", [".stl", ".ply", ".obj", ".seg.nrrd"])
def test_the_files_that_were_written_are_named(tmp_path, organs, suffix):
    output = tmp_path / f"o{suffix}"
    read = convert(organs, [output], as_labels=True)
    assert isinstance(read, LabelVolume)
    there = {file for file in tmp_path.iterdir() if file.name.startswith("o") and file != organs}
    assert set(files_written(read, output)) == there - {output.with_suffix(".mtl")}


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_image_there_and_back(tmp_path, image, volume, suffix):
    convert(image, [tmp_path / f"b{suffix}"])
    convert(tmp_path / f"b{suffix}", [tmp_path / "c.nii.gz"])
    again = io.read(tmp_path / "c.nii.gz")
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    assert again.voxels.dtype == volume.voxels.dtype
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-4)
    np.testing.assert_allclose(
        nibabel.load(tmp_path / "c.nii.gz").affine, nibabel.load(image).affine, atol=1e-5
    )


def test_a_label_map_says_that_it_is_one(tmp_path, organs, labels):
    read = convert(organs, [tmp_path / "b.seg.nrrd", tmp_path / "b.mha"])
    assert isinstance(read, LabelVolume)
    again = convert(tmp_path / "b.seg.nrrd", [tmp_path / "c.nii.gz"])
    assert isinstance(again, LabelVolume)
    back = io.read_labels(tmp_path / "c.nii.gz")
    assert back.names == labels.names
    assert back.colours[3] == labels.colours[3]
    np.testing.assert_array_equal(back.voxels, labels.voxels)


def test_an_image_that_says_nothing(tmp_path, labels):
    io.write_labels(labels, tmp_path / "a.mha")
    assert isinstance(convert(tmp_path / "a.mha", [tmp_path / "b.nrrd"]), Volume)
    read = convert(tmp_path / "a.mha", [tmp_path / "c.nrrd"], as_labels=True)
    assert isinstance(read, LabelVolume)


def test_a_format_for_labels_alone_asks_for_labels(tmp_path, image):
    with pytest.raises(LabelError, match="is no label map"):
        convert(image, [tmp_path / "b.seg.nrrd"])


def test_everything_is_checked_before_reading(tmp_path):
    missing = tmp_path / "missing.nii.gz"
    with pytest.raises(OutputError, match="should end in one of"):
        convert(missing, [tmp_path / "b.xyz"])
    (tmp_path / "b.nrrd").write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        convert(missing, [tmp_path / "b.nrrd"])
    with pytest.raises(InputError, match="does not exist"):
        convert(missing, [tmp_path / "c.nrrd"])


def test_like_is_for_labels(tmp_path, image):
    with pytest.raises(InputError, match="--like is for label maps"):
        convert(image, [tmp_path / "b.nrrd"], like=image)


def test_labels_onto_the_grid_of_their_image(tmp_path, image, organs):
    turned = nibabel.load(organs).as_reoriented([[2, -1], [0, 1], [1, -1]])
    nibabel.save(turned, tmp_path / "turned.nii.gz")
    convert(tmp_path / "turned.nii.gz", [tmp_path / "b.nii.gz"], like=image, as_labels=True)
    np.testing.assert_array_equal(
        np.asanyarray(nibabel.load(tmp_path / "b.nii.gz").dataobj),
        np.asanyarray(nibabel.load(organs).dataobj),
    )


def test_a_frame(tmp_path, image):
    stack = nibabel.load(image)
    array = np.stack([np.asanyarray(stack.dataobj) + t for t in range(3)], axis=3)
    nibabel.save(nibabel.Nifti1Image(array, stack.affine), tmp_path / "cine.nii")
    convert(tmp_path / "cine.nii", [tmp_path / "b.nrrd"], frame=2)
    np.testing.assert_array_equal(io.read(tmp_path / "b.nrrd").voxels, io.read(image).voxels + 2)


class TestCommand:
    @pytest.fixture
    def run(self):
        app = typer.Typer()
        app.command()(command)
        return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])

    def test_json(self, run, tmp_path, organs):
        done = run(organs, "-o", tmp_path / "b.seg.nrrd", "-o", tmp_path / "b.mha", "--json")
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert found["kind"] == "label map"
        assert found["shape_ijk"] == [11, 7, 5]
        assert found["labels"] == {"1": "liver <left>", "3": "spleen"}
        assert found["outputs"] == [str(tmp_path / "b.seg.nrrd"), str(tmp_path / "b.mha")]

    def test_data_on_stdout_alone(self, run, tmp_path, image):
        done = run(image, "-o", tmp_path / "b.nrrd")
        assert done.exit_code == 0
        assert done.stdout == ""
        assert "image of 11x7x5 voxels (int16) written to" in done.stderr

    def test_force(self, run, tmp_path, image):
        (tmp_path / "b.nrrd").write_text("old")
        assert isinstance(run(image, "-o", tmp_path / "b.nrrd").exception, OutputError)
        assert run(image, "-o", tmp_path / "b.nrrd", "--force").exit_code == 0
        assert io.read(tmp_path / "b.nrrd").shape == io.read(image).shape

    def test_no_output_is_a_usage_error(self, run, image):
        assert run(image).exit_code == 2
