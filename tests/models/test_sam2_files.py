"""SAM 2's weights files: found out by their tensors, refused in one line; a missing package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("sam2", reason="the package sam2 is not installed (extra 'sam2')")

from sammed.errors import BackendUnavailableError, InputError, ModelError, WeightsMismatchError
from sammed.models import catalogue, memory, registry
from sammed.models.sam2 import network as networks
from sammed.models.sam2.model import Sam2Model
from tests.models.networks import random_sam
from tests.models.sam2_networks import TINY, random_sam2


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def tiny_passes_for_official(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tiny network pass for SAM 2.1 tiny, so that checkpoints stay small."""
    from omegaconf import OmegaConf

    official = networks.configuration
    monkeypatch.setattr(
        networks, "configuration", lambda name: OmegaConf.merge(official(name), TINY)
    )


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return dict(random_sam2().state_dict())


def saved(path: Path, state: dict[str, torch.Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous().clone() for name, value in state.items()}, path)
    else:
        torch.save({"model": state}, path)
    return path


@pytest.mark.parametrize("file", ["mine.pt", "mine.safetensors"])
def test_a_file_is_recognised_by_its_tensors(
    tmp_path: Path, state: dict[str, torch.Tensor], file: str
) -> None:
    model = registry.build(str(saved(tmp_path / file, state)), encode_size=256)
    assert isinstance(model, Sam2Model)
    assert model.spec.name == "sam2.1_tiny"
    assert model.spec.view_size == 256
    assert model.spec.license == "unknown (own weights file)"
    ours, theirs = model._network.state_dict(), state
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_medsam2_is_a_sam_2_1_tiny_at_512_px(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    file = saved(tmp_path / "MedSAM2_CTLesion.pt", state)
    model = registry.build(str(file))
    assert (model.spec.name, model.spec.view_size) == ("medsam2", 512)
    named = registry.build("medsam2", weights=file)
    assert (named.spec.name, named.spec.variant) == ("medsam2", "512px")


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        registry.build(str(path), **options)
    return one_line(caught)


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_another_size_than_asked_for(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = saved(tmp_path / "mine.pt", state)
    with pytest.raises(WeightsMismatchError, match=r"holds weights of sam2.1_tiny; expected sam2"):
        registry.build("sam2.1_large", weights=file)


def test_another_family(tmp_path: Path) -> None:
    file = saved(tmp_path / "vit.pt", dict(random_sam(image_size=256).state_dict()))
    with pytest.raises(WeightsMismatchError, match="is no checkpoint of SAM 2") as caught:
        registry.build("sam2.1_tiny", weights=file)
    one_line(caught)


def test_tensors_that_are_missing_or_of_another_shape(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    lacking = {name: value for name, value in state.items() if "memory_encoder" not in name}
    message = refused(saved(tmp_path / "lacking.pt", lacking))
    assert "missing (first: memory_encoder" in message
    wider = {**state, "no_mem_embed": torch.zeros(1, 1, 128)}
    assert "no_mem_embed (1, 1, 128) instead of (1, 1, 256)" in refused(
        saved(tmp_path / "wider.pt", wider)
    )


@pytest.mark.parametrize("file", ["cut.pt", "cut.safetensors"])
def test_a_truncated_file(tmp_path: Path, state: dict[str, torch.Tensor], file: str) -> None:
    path = saved(tmp_path / file, state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is truncated" in refused(path)
    with pytest.raises(WeightsMismatchError, match="is truncated"):
        registry.build("sam2.1_tiny", weights=path)


class RunsCode:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


def test_a_file_with_code_is_not_run(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": state, "hook": RunsCode()}, tmp_path / "bad.pt")
    with pytest.raises(WeightsMismatchError, match="could run code, and was not loaded"):
        registry.build("sam2.1_tiny", weights=tmp_path / "bad.pt")
    refused(tmp_path / "bad.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("size", [100, 2048, 0])
def test_a_side_that_cannot_be(tmp_path: Path, state: dict[str, torch.Tensor], size: int) -> None:
    file = saved(tmp_path / "mine.pt", state)
    with pytest.raises(InputError, match=f"cannot encode at {size} px; expected a multiple of 32"):
        registry.build("sam2.1_tiny", weights=file, encode_size=size)


def test_without_the_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    file = saved(tmp_path / "mine.pt", state)
    monkeypatch.setattr(registry, "_lacking", lambda extra: [extra])
    for name in ("sam2.1_tiny", "medsam2", str(file)):
        with pytest.raises(BackendUnavailableError, match=r'pip install "sammed\[sam2\]"'):
            registry.build(name)
    with pytest.raises(BackendUnavailableError, match="needs the package sam2"):
        registry.check("medsam2")
    assert registry.info("medsam2").lacks == "sam2"


def test_a_package_that_is_half_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    monkeypatch.delitem(sys.modules, "sam2")
    monkeypatch.setitem(sys.modules, "hydra", None)
    with pytest.raises(BackendUnavailableError, match="needs the package sam2, and hydra is not"):
        registry.build(str(saved(tmp_path / "mine.pt", state)))


def test_no_memory_is_said_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    file = saved(tmp_path / "mine.pt", state)
    needed = catalogue.BUILT_IN["sam2.1_tiny"].memory
    assert needed > 1e8
    monkeypatch.setattr(memory, "free_memory", lambda: needed - 1)
    with pytest.raises(ModelError, match=r"no memory for model 'sam2.1_tiny': it takes about"):
        registry.build("sam2.1_tiny", weights=file, encode_size=256)
    monkeypatch.setenv(memory.IGNORE_VARIABLE, "1")
    registry.build("sam2.1_tiny", weights=file, encode_size=256)


def test_what_is_free_is_what_the_system_and_a_container_leave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in {
        "meminfo": "MemTotal: 9 kB\nMemAvailable:    2000 kB\n",
        "memory.max": "1000000",
        "memory.current": "400000",
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_STATE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_LIMITS", (tmp_path / "memory.max", tmp_path / "memory.current"))
    assert memory.free_memory() == 600000
    (tmp_path / "memory.max").write_text("max")
    assert memory.free_memory() == 2000 * 1024
    (tmp_path / "meminfo").unlink()
    assert memory.free_memory() is None


def test_the_package_is_not_imported_to_list_models() -> None:
    code = (
        "import sys; from sammed.models import registry; "
        "[registry.info(n) for n in registry.names()]; print('sam2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
