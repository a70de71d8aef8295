"""``import sammed``: what is there, and that it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sammed
from sammed.errors import InputError, OutputError
from tests.phantoms import ORGAN, image_of, organ_volume, save_nifti

VOLUME = organ_volume()


def in_a_new_process(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.alone
def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter(); import sammed;"
        "seconds = time.perf_counter() - start; dir(sammed);"
        "heavy = {'torch', 'numpy', 'scipy', 'nibabel', 'SimpleITK', 'pydicom'} & set(sys.modules);"
        "print(seconds, *heavy)"
    )
    runs = [in_a_new_process(code).split() for _ in range(3)]
    assert all(len(run) == 1 for run in runs), runs
    assert min(float(run[0]) for run in runs) < 0.15


@pytest.mark.thorough
def test_prompts_and_files_need_no_torch():
    code = (
        "import sys, sammed; sammed.read('sample_data/phantom_ct.nii.gz');"
        "sammed.segment; sammed.Session; sammed.Box(1, 2, 3, 4, k=5);"
        "print('torch' in sys.modules)"
    )
    assert in_a_new_process(code) == "False"


def test_dir_shows_what_there_is():
    shown = [name for name in dir(sammed) if not name.startswith("__")]
    assert shown == sorted(name for name in sammed.__all__ if not name.startswith("__"))
    assert {"read", "segment", "Session", "Box", "write", "load_model"} <= set(shown)
    for name in dir(sammed):
        assert getattr(sammed, name) is not None
    with pytest.raises(AttributeError, match="'sammed' has no attribute 'sgment'"):
        _ = sammed.sgment


def test_everything_says_what_it_is():
    for name in sammed.__all__:
        if not name.startswith("__"):
            assert len((getattr(sammed, name).__doc__ or "").splitlines()[0]) > 20, name


def test_images_and_labels_are_written_by_one_function(tmp_path: Path):
    labels = sammed.segment(VOLUME, box=(9, 6, 40, 29), slice=8, model="two_class")
    for thing, name in [
        (VOLUME, "ct.nrrd"),
        (labels, "labels.nii.gz"),
        (labels, "labels.seg.nrrd"),
    ]:
        sammed.write(thing, tmp_path / name)
        with pytest.raises(OutputError, match="exists already"):
            sammed.write(thing, tmp_path / name)
        sammed.write(thing, tmp_path / name, force=True)
    np.testing.assert_array_equal(sammed.read(tmp_path / "ct.nrrd").voxels, VOLUME.voxels)
    again = sammed.read_labels(tmp_path / "labels.nii.gz", like=VOLUME)
    np.testing.assert_array_equal(again.voxels, labels.voxels)


@pytest.mark.parametrize(
    ("thing", "options", "message"),
    [
        (ORGAN, {}, "cannot write an object of type ndarray; expected a Volume or a LabelVolume"),
        (VOLUME, {"output_type": "nrrd"}, "a Volume is written without output_type"),
        (VOLUME, {"smooth": 2}, "a Volume is written without smooth"),
    ],
)
def test_what_cannot_be_written(tmp_path, thing, options, message):
    with pytest.raises(InputError, match=message):
        sammed.write(thing, tmp_path / "x.nrrd", **options)
    assert not list(tmp_path.iterdir())


def test_models_by_name():
    assert "compact" in sammed.list_models()
    model = sammed.load_model("ellipse")
    assert model.spec.name == "ellipse"
    labels = sammed.segment(VOLUME, box=(9, 6, 40, 29), slice=8, model=model)
    assert labels.voxels.any()
    with pytest.raises(InputError, match="'box' has no option encode_size; expected none"):
        sammed.load_model("box", encode_size=512)


def test_anything_that_is_an_image_is_a_volume(tmp_path: Path):
    path = save_nifti(tmp_path / "ct.nii.gz", image_of(ORGAN))
    for given in (path, str(path), VOLUME, (image_of(ORGAN).T, VOLUME.ras_affine)):
        np.testing.assert_array_equal(sammed.as_volume(given).voxels, VOLUME.voxels)
    with pytest.raises(InputError, match="an image in memory has no series 'x'"):
        sammed.as_volume(VOLUME, series="x")
