"""Whatever the user gets wrong: one line, the right exit code, and no file touched."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from sammed import cli
from sammed.imaging import geometry
from sammed.models import registry
from sammed.session import Session
from tests.phantoms import (
    ORGAN,
    STRAIGHT,
    StubModel,
    dice,
    image_of,
    organ_volume,
    save_nifti,
    slice_box,
)

pytestmark = pytest.mark.usefixtures("console")

BOX = "9,6,40,29@8"
OUT = ("--box", BOX, "-o", "o.nii.gz")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_nifti(tmp_path / "ct.nii.gz", image_of(ORGAN))
    return tmp_path


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> StubModel:
    """A quick model that every registry name stands for."""
    model = StubModel(52)
    monkeypatch.setattr(registry, "build", lambda *_, **__: model)
    return model


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes() if file.is_file() else b""
        for file in folder.rglob("*")
    }


@pytest.fixture
def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run ``sammed segment`` and make sure that it refuses as it should; the line it says."""

    def run(
        code: int, *arguments: object, image: str = "ct.nii.gz", model: str = "two_class"
    ) -> str:
        before = contents(folder)
        command = ["segment", image, "--model", model, *map(str, arguments)]
        assert cli.main(command) == code
        out, err = capsys.readouterr()
        assert contents(folder) == before
        assert out == ""
        assert "Traceback" not in err
        lines = err.strip().splitlines()
        if code != 2:
            *earlier, last = lines
            assert last.startswith("sammed: ")
            assert all(line.startswith("warning: ") for line in earlier)
        return lines[-1]

    return run


# -- files -----------------------------------------------------------------------------------


def test_a_missing_file(refused):
    assert "none.nii.gz does not exist" in refused(1, *OUT, image="none.nii.gz")
    assert "scans does not exist" in refused(1, *OUT, image="scans")


@pytest.mark.parametrize("share", [0.1, 0.9, 0.999])
@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii"])
def test_a_truncated_file(refused, folder, share, name):
    data = (folder / "ct.nii.gz").read_bytes()
    data = data if name.endswith("gz") else gzip.decompress(data)
    (folder / name).write_bytes(data[: int(len(data) * share)])
    line = refused(1, *OUT, image=name)
    assert name in line
    assert "truncated" in line or "damaged" in line or "ends" in line


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.dcm", "a.nii"])
def test_an_empty_file(refused, folder, name):
    (folder / name).touch()
    assert f"{name} is empty (0 bytes)" in refused(1, *OUT, image=name)


@pytest.mark.parametrize(
    "name", ["a.nii.gz", "a.nii", "a.nrrd", "a.mha", "a.png", "a.tif", "a.dcm", "a.zip", "a.txt"]
)
@pytest.mark.parametrize("content", [b"<html>404 Not Found</html>\n" * 40, bytes(2000)])
def test_a_file_that_is_no_image(refused, folder, name, content):
    (folder / name).write_bytes(content)
    assert name in refused(1, *OUT, image=name)


def test_a_folder_without_images(refused, folder):
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("hello")
    assert "empty" in refused(1, *OUT, image="empty")
    assert "texts" in refused(1, *OUT, image="texts")


def odd_voxels(folder: Path, *values: float, everywhere: bool = False) -> None:
    voxels = image_of(ORGAN).astype(np.float32)
    if everywhere:
        voxels[:] = values[0]
    else:
        voxels[0, 0, : len(values)] = values
    save_nifti(folder / "odd.nii.gz", voxels)


def test_voxels_that_are_no_numbers_are_replaced_with_a_warning(folder, capsys, stub):
    odd_voxels(folder, np.nan, np.inf, -np.inf)
    assert cli.main(["segment", "odd.nii.gz", "--model", "stub", *OUT]) == 0
    err = capsys.readouterr().err
    assert "warning: odd.nii.gz: 3 voxels are NaN or infinite" in err
    told = json.loads(Path("o.report.json").read_text())
    assert any("3 voxels are NaN or infinite" in note for note in told["input"]["notes"])
    assert dice(np.asarray(nibabel.load("o.nii.gz").dataobj).T, ORGAN) > 0.99


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_but_voxels_that_are_no_numbers(refused, folder, value):
    odd_voxels(folder, value, everywhere=True)
    assert "odd.nii.gz has no finite voxel" in refused(1, *OUT, image="odd.nii.gz")


def test_a_constant_image(refused, folder):
    odd_voxels(folder, 7, everywhere=True)
    assert "the image is constant: every voxel is 7" in refused(1, *OUT, image="odd.nii.gz")


def test_a_4d_file_without_a_frame(refused, folder):
    frames = np.zeros((4, 5, 6, 3), np.int16)
    nibabel.save(nibabel.Nifti1Image(frames, np.eye(4)), folder / "4d.nii.gz")
    line = refused(1, "--box", "1,1,2,2@3", "-o", "o.nii.gz", image="4d.nii.gz")
    assert "4d.nii.gz holds 3 frames; choose one with --frame (0 to 2)" in line
    line = refused(1, "--box", "1,1,2,2@3", "-o", "o.nii.gz", "--frame", 3, image="4d.nii.gz")
    assert "has no frame 3" in line


def test_a_sheared_grid(refused, folder):
    affine = geometry.affine_to_ras(STRAIGHT)
    affine[:3, 0] += 0.1 * affine[:3, 1]
    image = nibabel.Nifti1Image(image_of(ORGAN).transpose(2, 1, 0), None)
    image.set_sform(affine, 1)
    image.set_qform(None, 0)
    nibabel.save(image, folder / "sheared.nii.gz")
    assert "sheared" in refused(1, *OUT, image="sheared.nii.gz")


# -- prompts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "9,6,9,29@8"], "is empty or inverted: from (9, 6) to (9, 29)"),
        (["--box", "40,6,9,29@8"], "is empty or inverted"),
        (["--box", "9,6,4,40,29,4"], "is empty or inverted: from (9, 6, 4) to (40, 29, 4)"),
        (["--box", "9,6,9,40,29,4"], "is empty or inverted"),
        (["--box", "9,6,53,29@8"], "reaches outside the volume: i from 9 to 53"),
        (["--box", "-2,6,40,29@8"], "reaches outside the volume: i from -2 to 40"),
        (["--box", "60,60,70,70@8"], "reaches outside the volume"),
        (["--box", "9,6,40,29@17"], "k from 17 to 18 (half-open), the file has k = 0..16"),
        (["--box", "9,6,40,29@-1"], "k from -1 to 0"),
        (["--box", "9,6,1,40,29,18"], "k from 1 to 18"),
        (["--box", "9,6,40@8"], "cannot read '9,6,40@8'; expected i0,j0,i1,j1@k"),
        (["--box", "9,6,40,29@q=8"], "unknown axis 'q'"),
        (["--box", "9.5,6,40,29@8"], "has fractions"),
        (["--box", "9,6,40,29@8", "--space", "lps"], "is on a slice that does not exist"),
        (["--box", "9,6,4,40,29,9", "--space", "ras"], "lies outside the volume"),
        (["--point", "9,6,17"], "the point (9, 6, 17) (voxel) lies outside the volume"),
        (["--point", "9,6,x"], "cannot read '9,6,x'; expected i,j,k"),
        (["--point", "9,6,3,-"], "nothing says where 'object' is"),
        (["--mask", "none.nii.gz"], "none.nii.gz does not exist"),
        (["--prompts", "none.json"], "cannot read none.json: No such file"),
        ([], "no prompt: give --box, --point, --mask or --prompts"),
        (["--box", "a=9,6,40,29@8", "--box", "a=6,8,29,12@i=9"], "on slices of different planes"),
        (["--box", "9,6,40,29@8", "--plane", "coronal"], "lies on axial slice 8"),
        (["--box", "9,6,4,40,29,12", "--point", "20,20,14"], "which its 3D box excludes"),
    ],
)  # fmt: skip
def test_prompts_that_make_no_sense(refused, options, message):
    assert message in refused(1, *options, "-o", "o.nii.gz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "a=2", "--label", "b=2"], "label 2 is given to both 'a' and 'b'"),
        (["--label", "a=0"], "label 0 of 'a' is not in 1..65535"),
        (["--label", "a=65536"], "label 65536 of 'a' is not in 1..65535"),
        (["--label", "c=2"], "a label is given for 'c', but the objects are a, b"),
        (["--label", "a"], "cannot read label 'a'; expected NAME=VALUE"),
    ],
)
def test_labels_that_clash(refused, options, message):
    boxes = ("--box", f"a={BOX}", "--box", f"b={BOX}")
    assert message in refused(1, *boxes, *options, "-o", "o.nii.gz")


def test_a_prompt_file_that_makes_no_sense(refused, folder):
    for text, message in [
        ("{", "p.json is not JSON"),
        ("[]", "p.json holds no prompts"),
        ('{"format": "sammed-prompts/1", "objects": [{"boxes": [{"index": 99}]}]}', "KeyError"),
        ('{"format": "sammed-prompts/1", "objects": [{"mask": "x.nii"}]}', "x.nii does not exist"),
    ]:
        (folder / "p.json").write_text(text)
        assert message in refused(1, "--prompts", "p.json", "-o", "o.nii.gz")


def test_a_mask_on_another_grid(refused, folder):
    save_nifti(folder / "m.nii.gz", np.ones((3, 4, 5), np.uint8))
    line = refused(1, "--mask", "m.nii.gz", "-o", "o.nii.gz")
    assert "m.nii.gz is not on the grid of the image: shape (3, 4, 5)" in line
    save_nifti(folder / "n.nii.gz", np.full(ORGAN.shape, 0.5, np.float32))
    assert "n.nii.gz is no label map" in refused(1, "--mask", "n.nii.gz", "-o", "o.nii.gz")


# -- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", "softtissue"], "unknown window 'softtissue'; expected auto, dicom"),
        (["--window", "dicom"], "the file proposes no window"),
        (["--window", "0/40"], "window width 0 is not positive"),
        (["--plane", "axail"], "unknown plane 'axail'; expected auto, all, axial"),
        (["--space", "mm"], "unknown space 'mm'; expected voxel, ras, lps"),
        (["--series", "2"], "is no DICOM, so it has no series '2'"),
        (["--overlap", "first"], "unknown overlap 'first'; expected keep, overwrite, score"),
        (["--components", "one"], "unknown components 'one'; expected prompted, largest, all"),
        (["--propagate", "up"], "unknown propagation 'up'; expected auto, between, off"),
        (["--zoom", "big"], "unknown zoom 'big'; expected auto, off, or a factor from 1 to 20"),
        (["--zoom", "nan"], "unknown zoom 'nan'"),
        (["--smooth", "inf"], "smoothing of inf mm"),
        (["--output-type", "pdf"], "unknown output type 'pdf'; expected one of nifti"),
        (["--store"], "--store sends to a server"),
    ],
)
def test_unknown_names(refused, options, message):
    assert message in refused(1, *OUT, *options)


def test_unknown_models(refused, folder):
    assert "unknown model 'vit_x'; expected one of compact" in refused(1, *OUT, model="vit_x")
    line = refused(3, *OUT, model="vit_b")
    assert "sammed models download vit_b" in line
    assert "no weights file at none.pth" in refused(3, *OUT, model="none.pth")
    (folder / "broken.pth").write_bytes(b"PK\x03\x04" + bytes(500))
    assert "broken.pth is truncated or no" in refused(3, *OUT, model="broken.pth")


def test_an_unknown_device(refused):
    assert "unknown device 'tpu'" in refused(1, *OUT, "--device", "tpu", model="compact")


def test_an_unknown_kind_of_output(refused):
    assert "cannot tell what to write from the name 'o.xyz'" in refused(
        1, "--box", BOX, "-o", "o.xyz"
    )


@pytest.mark.parametrize(
    "options",
    [["--box", BOX], ["--boxx", BOX, "-o", "o.nii.gz"], ["-o"], [*OUT, "--threads", "0"],
     [*OUT, "--smooth", "-1"], [*OUT, "--frame", "one"]],
)  # fmt: skip
def test_usage(refused, options):
    assert refused(2, *options)


def test_no_command_and_an_unknown_one(capsys):
    assert cli.main([]) == 2
    assert cli.main(["segmnt"]) == 2
    assert "Traceback" not in capsys.readouterr().err


# -- outputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o.nii.gz", "o.report.json", "o.prompts.json", "p.png"])
def test_an_output_that_exists(refused, folder, name):
    (folder / name).write_text("precious")
    line = refused(1, *OUT, "--preview", "p.png")
    assert f"{name} exists already; choose another name, or --force replaces it" in line


def test_outputs_that_cannot_be(refused, folder):
    (folder / "sub.nii.gz").mkdir()
    assert "sub.nii.gz: it is a folder" in refused(1, "--box", BOX, "-o", "sub.nii.gz", "--force")
    line = refused(1, "--box", BOX, "-o", "none/o.nii.gz")
    assert "the folder none does not exist" in line
    assert "the folder none does not exist" in refused(1, *OUT, "--report", "none/r.json")
    assert "the folder none does not exist" in refused(1, *OUT, "--preview", "none/p.png")


def test_a_preview_is_a_png(refused):
    assert "the preview is a PNG; let its name end in .png" in refused(
        1, *OUT, "--preview", "p.jpg"
    )


@pytest.mark.parametrize("name", [".", "/", "", "..", "./", "/dev/null", "x" * 300])
@pytest.mark.parametrize("option", ["-o", "--report", "--preview"])
def test_outputs_that_are_no_files(refused, name, option):
    line = refused(1, *(("--box", BOX) if option == "-o" else OUT), option, name)
    assert re.search("it is a folder; give a file name|it is a device|the name is too long", line)


@pytest.mark.parametrize(
    "options",
    [
        ["-o", "ct.nii.gz"],
        ["-o", "./ct.nii.gz"],
        ["-o", "o.nii.gz", "-o", "o.nii.gz"],
        ["-o", "o.nii.gz", "--report", "o.nii.gz"],
        ["-o", "o.png", "--preview", "./o.png"],
        ["-o", "o.nii.gz", "--report", "o.png", "--preview", "o.png"],
    ],
)
def test_an_output_that_is_the_input_or_another_output(refused, options):
    line = refused(1, "--box", BOX, *options, "--force")
    assert "is the image itself" in line or "twice" in line


# -- nothing segmented -----------------------------------------------------------------------


def test_nothing_segmented(refused, stub):
    line = refused(4, "--box", "a=1,1,6,6@0", "-o", "o.nii.gz", "--preview", "p.png")
    assert "nothing was segmented for 'a'" in line
    assert "check the box, the window or the model" in line


def test_points_for_a_model_that_knows_boxes_only(refused):
    line = refused(1, "--point", "24,17,8", "-o", "o.nii.gz")
    assert "model 'two_class' is prompted by box; found points" in line


# -- a full disk -----------------------------------------------------------------------------


def full_disk(monkeypatch: pytest.MonkeyPatch, at: int = 1) -> None:
    """From the ``at``-th file on, the disk is full when the file is flushed."""
    flushed = []

    def fsync(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) >= at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_full_disk(refused, stub, monkeypatch):
    full_disk(monkeypatch)
    line = refused(1, *OUT, "--preview", "p.png")
    assert "cannot write" in line
    assert "o.nii.gz: no space is left on the disk" in line


def test_a_full_disk_leaves_the_former_output_as_it_was(refused, folder, stub, monkeypatch):
    for name in ("o.nii.gz", "o.report.json", "o.prompts.json"):
        (folder / name).write_text("precious")
    full_disk(monkeypatch)
    assert "no space is left" in refused(1, *OUT, "--force")


@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_disk_that_fills_up_later_leaves_whole_files(folder, stub, monkeypatch, capsys, at):
    full_disk(monkeypatch, at)
    assert cli.main(["segment", "ct.nii.gz", *OUT, "--preview", "p.png"]) == 1
    assert "no space is left on the disk" in capsys.readouterr().err
    left = {f.name for f in folder.iterdir()} - {"ct.nii.gz"}
    assert left == {"o.nii.gz", "o.report.json", "o.prompts.json"} - set(
        ["o.report.json", "o.prompts.json"][at - 2 :]
    )
    assert dice(np.asarray(nibabel.load("o.nii.gz").dataobj).T, ORGAN) > 0.99


def test_a_disk_that_cannot_be_written_at_all(refused, stub, monkeypatch):
    def mkdtemp(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkdtemp", mkdtemp)
    assert "the file system is read-only" in refused(1, *OUT)


def test_out_of_memory(refused, stub):
    def fail(*_: object) -> None:
        raise MemoryError

    stub.rule = fail  # type: ignore[assignment]
    assert "out of memory" in refused(1, *OUT)


# -- Ctrl-C ----------------------------------------------------------------------------------


def interrupt_after(count: int) -> Callable[..., object]:
    """A real SIGINT during the model's ``count``-th answer."""
    asked = []

    def rule(prompt: object, grey: object, mask: object) -> object:
        asked.append(prompt)
        if len(asked) == count:
            os.kill(os.getpid(), signal.SIGINT)
        return mask

    return rule


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("force", [False, True])
def test_ctrl_c_while_it_segments(refused, folder, stub, count, force):
    stub.rule = interrupt_after(count)  # type: ignore[assignment]
    if force:
        (folder / "o.nii.gz").write_text("precious")
    line = refused(130, *OUT, "--preview", "p.png", *(["--force"] if force else []))
    assert line == "sammed: stopped; what was not finished was not written"


def test_ctrl_c_while_it_writes(refused, folder, stub, monkeypatch):
    def fsync(handle: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    (folder / "o.nii.gz").write_text("precious")
    monkeypatch.setattr(os, "fsync", fsync)
    assert "stopped" in refused(130, *OUT, "--force")


def test_ctrl_c_while_it_reads(refused, monkeypatch):
    def read(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sammed.io.read", read)
    assert "stopped" in refused(130, *OUT)


def test_a_cancelled_session_has_the_same_code(refused, stub, monkeypatch):
    whole = Session.segment

    def cancelled(self: Session, progress: object = None, cancel: object = None) -> object:
        return whole(self, None, lambda: True)

    monkeypatch.setattr(Session, "segment", cancelled)
    assert "stopped; nothing was changed" in refused(130, *OUT)


def test_the_phantom_is_found_when_nothing_is_wrong(folder, stub):
    """The commands above are refused for the reasons that they give, and not for others."""
    assert cli.main(["segment", "ct.nii.gz", *OUT]) == 0
    assert dice(np.asarray(nibabel.load("o.nii.gz").dataobj).T, ORGAN) > 0.99
    box = slice_box(ORGAN, 8).box
    assert organ_volume().shape == ORGAN.shape
    assert [int(v) for v in BOX.partition("@")[0].split(",")] == [
        pytest.approx(v, abs=8) for v in (box.c0, box.r0, box.c1, box.r1)
    ]
