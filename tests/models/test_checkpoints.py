"""Weights files that are missing, broken, foreign or dangerous."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sammed.errors import InputError, WeightsMismatchError, WeightsNotFoundError
from sammed.models import checkpoints, registry
from sammed.models.compact.entry import WEIGHTS as COMPACT_WEIGHTS
from sammed.models.protocols import ImageModel
from sammed.models.sam.model import MedSamModel, SamModel
from sammed.models.sam.network import ARCHITECTURES, load_network
from tests.models.networks import TINY, random_sam


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_sam(TINY, image_size=1024).state_dict()


@pytest.fixture
def tiny_vit_b(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tiny network pass for ViT-B, so that checkpoints stay small."""
    monkeypatch.setitem(ARCHITECTURES, "vit_b", TINY)


class RunsCode:
    """Unpickling this would create a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


def tensors_equal(path: Path, state: dict[str, torch.Tensor]) -> None:
    network, _ = load_network(path)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


@pytest.mark.usefixtures("tiny_vit_b")
def test_every_usual_container_is_read(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"model": state, "epoch": 7}, tmp_path / "training.pth")
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "parallel.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "plain.safetensors")
    for name in ("plain.pth", "training.pth", "parallel.pth", "old.pth", "plain.safetensors"):
        tensors_equal(tmp_path / name, state)


@pytest.mark.usefixtures("tiny_vit_b")
def test_a_path_is_a_model(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    kinds: dict[str, type[ImageModel]] = {
        "mine.pth": SamModel,
        "my_MedSAM_best.pth": MedSamModel,
        "mine.safetensors": SamModel,
    }
    for name, kind in kinds.items():
        path = tmp_path / name
        if path.suffix == ".pth":
            torch.save(state, path)
        else:
            save_file({k: v.contiguous() for k, v in state.items()}, path)
        model = registry.build(str(path))
        assert type(model) is kind
        assert model.spec.weights_hash == checkpoints.digest(path, "sha256")
        assert model.spec.license == "unknown (own weights file)"
    assert registry.build("vit_b", weights=tmp_path / "mine.pth").spec.name == "vit_b"


def test_the_built_in_networks_own_format_is_recognised(tmp_path: Path) -> None:
    if not COMPACT_WEIGHTS.is_file():
        pytest.skip("the weights of compact are not part of this checkout")
    specs = []
    for name in ("retrained", "renamed"):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(COMPACT_WEIGHTS.read_bytes())
        specs.append(registry.build(str(path)).spec)
    assert [spec.name for spec in specs] == ["compact", "compact"]
    assert specs[0].weights_hash == specs[1].weights_hash
    shipped = registry.build("compact").spec.weights_hash
    assert shipped != specs[0].weights_hash  # its boxes are answered by other weights


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"no weights file at .*absent\.pth"):
        registry.build(str(tmp_path / "absent.pth"))
    for name in ("vit_b", "sam_vit_h", "medsam"):
        with pytest.raises(WeightsNotFoundError, match=r"models download .* or 'sammed models imp"):
            registry.build(name)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    with pytest.raises(WeightsMismatchError, match=r"empty\.pth is empty"):
        registry.build(str(tmp_path / "empty.pth"))


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str, share: float
) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file({k: v.contiguous() for k, v in state.items()}, path)
    size = int(path.stat().st_size * share)
    with path.open("r+b") as stream:
        stream.truncate(size)
    with pytest.raises(WeightsMismatchError, match=f"cut.* is truncated or no .*{size} bytes"):
        registry.build(str(path))


@pytest.mark.parametrize("content", [b"<html>404 Not Found</html>\n" * 9, b"\x1f\x8b\x08" * 40])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"page{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsMismatchError, match="is truncated or no"):
        registry.build(str(path))


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": RunsCode()}, tmp_path / "zip.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(RunsCode(), protocol=2))
    for name in ("zip.pth", "bare.pth"):
        with pytest.raises(WeightsMismatchError, match="could run code, and was not loaded"):
            registry.build(str(tmp_path / name))
    assert not (tmp_path / "pwned").exists()


def test_tensors_of_another_model(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}, tmp_path / "r.pth")
    with pytest.raises(WeightsMismatchError, match=r"no segment-anything .*conv1\.weight, fc\.b"):
        registry.build(str(tmp_path / "r.pth"))
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(WeightsMismatchError, match="holds no tensors"):
        registry.build(str(tmp_path / "list.pth"))


@pytest.mark.usefixtures("tiny_vit_b")
def test_tensors_that_almost_fit_are_named(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    altered = dict(state)
    del altered["mask_decoder.iou_token.weight"]
    altered["adapter.weight"] = torch.zeros(2)
    altered["image_encoder.neck.0.weight"] = torch.zeros(256, 33, 1, 1)
    torch.save(altered, tmp_path / "odd.pth")
    with pytest.raises(WeightsMismatchError) as raised:
        registry.build(str(tmp_path / "odd.pth"))
    message = str(raised.value)
    assert "1 missing (first: mask_decoder.iou_token.weight)" in message
    assert "1 unexpected (first: adapter.weight)" in message
    assert "neck.0.weight (256, 33, 1, 1) instead of (256, 32, 1, 1)" in message


@pytest.mark.usefixtures("tiny_vit_b")
def test_weights_of_another_size_than_asked_for(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    torch.save(state, tmp_path / "b.pth")
    with pytest.raises(WeightsMismatchError, match="holds weights of vit_b; expected vit_l"):
        registry.build("vit_l", weights=tmp_path / "b.pth")


def test_a_damaged_official_file_is_not_loaded(home: Path) -> None:
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "sam_vit_b_01ec64.pth").write_bytes(b"PK" + bytes(1000))
    assert registry.info("vit_b").available
    with pytest.raises(WeightsMismatchError, match="truncated or altered: 1002 bytes, expected 37"):
        registry.build("vit_b")


def test_digests_are_remembered_until_the_file_changes(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"one")
    first = checkpoints.sha256(path)
    record = json.loads((home / "hashes.json").read_text())
    assert record[str(path.resolve())]["sha256"] == first
    checkpoints._remembered_sha256.cache_clear()
    with monkeypatch.context() as context:
        context.setattr(checkpoints, "digest", lambda *_: pytest.fail("read again"))
        assert checkpoints.sha256(path) == first
    path.write_bytes(b"two!")
    assert checkpoints.sha256(path) == checkpoints.digest(path, "sha256") != first


def test_a_broken_record_of_digests_is_ignored(tmp_path: Path, home: Path) -> None:
    home.mkdir()
    (home / "hashes.json").write_text("[]")
    (tmp_path / "w").write_bytes(b"x")
    assert checkpoints.sha256(tmp_path / "w") == checkpoints.digest(tmp_path / "w", "sha256")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vit_x", {}, "unknown model 'vit_x'; expected one of compact, vit_b"),
        ("box", {"zoom": 2.0}, "model 'box' has no option zoom; expected none"),
        (
            "vit_b",
            {"zom": 2.0},
            "no option zom; expected zoom or encode_size or engine or precision",
        ),
        ("ellipse", {"weights": Path("x.pth")}, "'ellipse' has no weights; leave x.pth out"),
        ("vit_b", {"device": "tpu"}, "unknown device 'tpu'"),
        ("vit_b", {"threads": 0}, "cannot run on 0 threads"),
    ],
)
def test_requests_that_make_no_sense(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        registry.build(name, **options)  # type: ignore[arg-type]


def test_what_is_known_without_weights() -> None:
    infos = {name: registry.info(name) for name in registry.names()}
    assert set(infos) >= {
        "compact", "vit_b", "vit_l", "vit_h", "medsam", "box", "ellipse", "two_class",
    }  # fmt: skip
    assert {info.package for info in infos.values()} == {"sammed"}
    assert [n for n in ("box", "ellipse", "two_class") if infos[n].available] == [
        "box", "ellipse", "two_class",
    ]  # fmt: skip
    assert infos["compact"].size > COMPACT_WEIGHTS.stat().st_size  # one file of several
    assert not infos["vit_h"].available
    for name in ("vit_b", "vit_l", "vit_h", "medsam"):
        assert infos[name].url.startswith("https://")
        assert len(infos[name].sha256) == 64
        assert infos[name].size > 3e8
    assert registry.info("sam_vit_l") == infos["vit_l"]
