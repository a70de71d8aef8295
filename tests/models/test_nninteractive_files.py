"""nnInteractive's folder: read without running it, made one file; its licence is confirmed once."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from sammed.cli.models import app
from sammed.errors import (
    BackendUnavailableError,
    ModelError,
    SammedWarning,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from sammed.models import catalogue, downloads, licences, registry
from sammed.models.nninteractive import folder as folders
from tests.models.nninteractive_folder import DATASET, LEGACY, write_folder

ENTRY = catalogue.resolve("nninteractive")
LICENSE = "CC-BY-NC-SA-4.0"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def _unofficial() -> Any:
    """The tests' checkpoints are not the official one, which is said each time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SammedWarning)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "nnInteractive_v1.0")


def checkpoint_of(folder: Path) -> Path:
    return folder / "fold_0" / "checkpoint_final.pth"


def test_all_that_is_needed_of_a_folder_is_kept_in_one_file(folder: Path, home: Path) -> None:
    for where in (folder, folder.parent):
        made = downloads.take_from(ENTRY, where)
        assert made == home / "weights" / "nninteractive.safetensors"
        trained = folders.read(made)
        assert trained.configuration == "3d_fullres_ps192_bs24"
        assert trained.license == LICENSE
        assert trained.dataset == DATASET
        assert trained.interactions == {"inference_session_class.json": LEGACY}
        assert trained.source == downloads.sha256(checkpoint_of(folder))
        assert torch.equal(trained.tensors["tiny"], torch.ones(2))
    assert folders.is_made(made)
    assert not list(made.parent.glob("*.part"))


def test_a_file_made_elsewhere_is_taken_too(folder: Path, tmp_path: Path, home: Path) -> None:
    made = downloads.take_from(ENTRY, folder)
    share = tmp_path / "share"
    share.mkdir()
    made.rename(share / made.name)
    again = folders.read(downloads.take_from(ENTRY, share))
    assert torch.equal(again.tensors["tiny"], torch.ones(2))
    (share / made.name).write_bytes((share / made.name).read_bytes()[:100])
    with pytest.raises(WeightsMismatchError, match="is truncated"):
        downloads.take_from(ENTRY, share)


def test_tensors_that_are_one_are_kept_once(tmp_path: Path) -> None:
    """nnU-Net's decoders hold their encoder a second time."""
    one, other = torch.rand(300), torch.rand(4)
    weights = {"encoder.a": one, "decoder.encoder.a": one, "part": one[:100], "b": other}
    folder = write_folder(tmp_path / "m", beside={"network_weights": weights})
    made = downloads.take_from(ENTRY, folder)
    assert made.stat().st_size < 2 * one.nbytes + 4000
    read = folders.read(made).tensors
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)


def test_who_checked_the_official_file_is_not_warned(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(SammedWarning, match="not the checkpoint of nnInteractive v1.0 .* as it com"):
        folders.read(checkpoint_of(folder))
    monkeypatch.setattr(folders, "OFFICIAL", downloads.sha256(checkpoint_of(folder)))
    (folder / "LICENSE").unlink()  # as in early copies of v1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert folders.read(checkpoint_of(folder)).license == LICENSE


class Trap:
    """A pickle that runs a command when it is loaded as pickles usually are."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return shutil.copyfile, (__file__, str(self.mark))


def test_a_checkpoint_with_code_is_refused_and_does_not_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it_ran"
    path = checkpoint_of(folder)
    held = torch.load(path, weights_only=False)
    torch.save({**held, "logging": Trap(mark)}, path)
    with pytest.raises(WeightsMismatchError, match=r"holds Python objects .* was not loaded") as e:
        downloads.take_from(ENTRY, folder)
    assert "\n" not in str(e.value)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # as nnInteractive's own loader does
    assert mark.exists()


def test_what_is_dropped_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's numbers are left out by their names: whatever stands behind these does not run."""
    mark = tmp_path / "it_ran"
    path = checkpoint_of(write_folder(tmp_path / "m", beside={"logging": Trap(mark)}))
    held = folders.read_torch(path, (*folders.BESIDE, "shutil.copyfile"))
    assert isinstance(held, dict)
    assert not mark.exists()
    assert torch.equal(held["network_weights"]["tiny"], torch.ones(2))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _other(path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1)}}, path)


def _no_tensors(path: Path) -> None:
    torch.save({"network_weights": {"a": 1}, "init_args": {"configuration": "x"}}, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut, "is truncated or no PyTorch checkpoint"),
        (_other, r"is no checkpoint of nnInteractive's \(it holds model\)"),
        (_no_tensors, "holds weights that are no tensors"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: (p.parent.parent / "plans.json").write_text("{"), "plans.json is truncated or"),
        (lambda p: (p.parent.parent / "dataset.json").write_text("[]"), "holds no JSON object"),
        (lambda p: (p.parent.parent / "dataset.json").unlink(), "no weights file at .*dataset"),
        (
            lambda p: (p.parent.parent / "inference_session_class.json").unlink(),
            "has no inference_info.json nor inference_session_class.json",
        ),
        (lambda p: p.unlink(), "has 0 checkpoints; expected one"),
        (
            lambda p: (p.parent.parent / "plans.json").unlink(),
            "holds no model; expected one folder",
        ),
    ],
)
def test_broken_folders_are_one_line(folder: Path, home: Path, spoil: Any, message: str) -> None:
    spoil(checkpoint_of(folder))
    with pytest.raises(ModelError, match=message) as error:
        downloads.take_from(ENTRY, folder)
    assert "\n" not in str(error.value)
    assert not list(home.rglob("*.safetensors*"))


def test_a_folder_with_several_models_is_asked_to_be_one(folder: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "nnInteractive_v2.0")
    with pytest.raises(WeightsNotFoundError, match=r"several models \(nnInteractive_v1.0, nnInt"):
        downloads.take_from(ENTRY, tmp_path)
    with pytest.raises(WeightsNotFoundError, match="no folder"):
        downloads.take_from(ENTRY, tmp_path / "nowhere")


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a download began")

    monkeypatch.setattr(downloads, "_fetch", never)
    with pytest.raises(WeightsNotFoundError, match=r"that you fetch yourself, under their licence"):
        downloads.download(ENTRY)
    with pytest.raises(WeightsNotFoundError, match=r"download nninteractive --from FOLDER"):
        downloads.find(ENTRY)


def test_the_licence_is_confirmed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_lacking", lambda extra: [])
    with pytest.raises(ModelError, match=r"CC-BY-NC-SA-4.0, was not confirmed .* product no\)"):
        registry.build("nninteractive")
    with pytest.raises(ModelError, match="'sammed models accept nninteractive'"):
        registry.check("nninteractive")
    licences.confirm("nninteractive", LICENSE)
    assert licences.is_confirmed("nninteractive", LICENSE)
    assert not licences.is_confirmed("nninteractive_2", LICENSE)
    with pytest.raises(WeightsNotFoundError):
        registry.build("nninteractive")
    licences._record().write_text("{")  # damaged: asked again
    assert not licences.is_confirmed("nninteractive", LICENSE)


def run(*arguments: str, said: str = "") -> Any:
    return CliRunner().invoke(app, list(arguments), input=said)


def test_the_command_line_shows_the_licence_and_asks(folder: Path, home: Path) -> None:
    refused = run("download", "nninteractive", "--from", str(folder), said="n\n")
    assert refused.exit_code != 0
    assert not (home / "weights").exists()
    taken = run("download", "nninteractive", "--from", str(folder), said="y\n")
    assert taken.exit_code == 0, taken.output
    assert "CC-BY-NC-SA-4.0: not primarily for commercial advantage" in taken.output
    assert "in a product? no" in taken.output
    again = run("download", "nninteractive", "--from", str(folder))
    assert again.exit_code == 0, again.output
    assert "[y/N]" not in again.output


def test_a_script_says_yes_by_an_option(folder: Path) -> None:
    alone = run("download", "nninteractive", "--from", str(folder))  # nobody answers
    assert alone.exit_code != 0
    taken = run("download", "nninteractive", "--from", str(folder), "--accept-licence")
    assert taken.exit_code == 0, taken.output
    assert licences.is_confirmed("nninteractive", LICENSE)


def test_accept_is_a_command_of_its_own() -> None:
    assert run("accept", "nninteractive", "--yes").exit_code == 0
    assert licences.is_confirmed("nninteractive", LICENSE)
    nothing = run("accept", "vit_b")
    assert nothing.exit_code == 0
    assert "asks for no confirmation" in nothing.output


def test_what_is_known_of_it_is_shown() -> None:
    shown = run("show", "nninteractive").output
    assert "in a clinic?  ask" in shown
    assert "in a product? no" in shown
    assert "sammed[nninteractive]" in shown
    assert "a folder that you fetch" in shown
    row = next(r for r in run("list").output.splitlines() if r.startswith("nninteractive"))
    assert " ask     no " in row
    facts = json.loads(run("show", "nninteractive", "--json").output)
    assert facts["terms"]["to_confirm"]


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    licences.confirm("nninteractive", LICENSE)
    monkeypatch.setattr(registry, "_lacking", lambda extra: ["nnunetv2"])
    with pytest.raises(BackendUnavailableError, match=r'nnunetv2.*"sammed\[nninteractive\]"'):
        registry.build("nninteractive")


def test_its_checkpoint_is_recognised_by_the_files_round_it(folder: Path, tmp_path: Path) -> None:
    assert ENTRY.recognises is not None
    assert ENTRY.recognises(checkpoint_of(folder))
    lonely = tmp_path / "fold" / "checkpoint_final.pth"
    lonely.parent.mkdir()
    checkpoint_of(folder).rename(lonely)
    assert not ENTRY.recognises(lonely)
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    assert not ENTRY.recognises(tmp_path / "x.safetensors")
