"""Engines beside PyTorch: the same embeddings, models kept by the hash of the weights."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT

from sammed.errors import BackendUnavailableError, InputError, OutputError
from sammed.models import registry
from sammed.models.sam import backends
from sammed.models.sam.backends import build_encoder
from sammed.models.sam.network import ARCHITECTURES
from tests.models.networks import TINY, random_sam

KEY = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def encoder() -> ImageEncoderViT:
    return random_sam(TINY, 240).image_encoder


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest) -> str:
    packages = {"openvino": ["openvino"], "onnxruntime": ["onnxruntime", "onnx"]}
    for package in packages[request.param]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    return str(request.param)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    return float((found - expected).abs().max() / expected.abs().max())


def test_an_engine_gives_the_same_embeddings(encoder: ImageEncoderViT, engine: str) -> None:
    images = torch.randn(2, 3, 240, 240)
    with torch.inference_mode():
        expected = encoder(images)
    assert error(build_encoder(encoder, engine=engine)(images), expected) < 1e-4


def test_its_model_is_kept_by_the_hash_of_the_weights(
    encoder: ImageEncoderViT, engine: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randn(1, 3, 240, 240)
    first = build_encoder(encoder, engine=engine, key=KEY)(images)
    (kept,) = (home / "compiled").iterdir()
    assert kept.name.endswith("-0123456789abcdef-240")
    other = random_sam(TINY, 240, seed=9).image_encoder
    again = build_encoder(other, engine=engine, key=KEY)(images)  # taken from disk
    assert torch.equal(again, first)
    new = build_encoder(other, engine=engine, key="f" * 64)(images)
    assert error(new, first) > 0.01
    assert len(list((home / "compiled").iterdir())) == 2


def test_a_failure_leaves_nothing_behind(
    encoder: ImageEncoderViT, engine: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    if engine == "openvino":
        monkeypatch.setattr(backends._import_openvino(), "save_model", fail)
    else:
        monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(
        OutputError, match=r"cannot keep the model for .*No space left on device; m"
    ):
        build_encoder(encoder, engine=engine, key=KEY)
    assert list((home / "compiled").iterdir()) == []


def test_a_model_made_by_another_process_meanwhile_is_taken(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "model").write_text("mine")
        place = tmp_path / "compiled" / "e-0123456789abcdef-7"
        place.mkdir()
        (place / "model").write_text("theirs")

    with backends._kept("e", KEY, 7, make) as folder:
        assert (folder / "model").read_text() == "theirs"
    assert [p.name for p in (tmp_path / "compiled").iterdir()] == ["e-0123456789abcdef-7"]


def test_openvino_is_imported_without_its_telemetry(tmp_path: Path) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    code = (
        "import sys; from sammed.models.sam.backends import _import_openvino; _import_openvino();"
        "assert 'openvino' in sys.modules; assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_an_engine_that_is_missing_says_how_to_get_it(
    encoder: ImageEncoderViT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendUnavailableError, match=r'pip install "sammed\[openvino\]"'):
        build_encoder(encoder, engine="openvino")
    with pytest.raises(BackendUnavailableError, match=r'pip install "sammed\[onnx\]"'):
        build_encoder(encoder, engine="onnxruntime")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "tensorrt"}, "unknown engine 'tensorrt'; expected one of torch, compile"),
        ({"precision": "int8"}, "unknown precision 'int8'; expected float32 or bfloat16"),
    ],
)
def test_requests_that_make_no_sense(
    encoder: ImageEncoderViT, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_encoder(encoder, **options)


def test_a_precision_that_an_engine_does_not_have(encoder: ImageEncoderViT, engine: str) -> None:
    with pytest.raises(InputError, match=f"'{engine}' does not compute in float16; expected flo"):
        build_encoder(encoder, engine=engine, precision="float16")


def test_lower_precision_is_part_of_what_a_model_says_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "vit_b", TINY)
    torch.save(random_sam(TINY, 1024).state_dict(), tmp_path / "tiny.pth")
    exact = registry.build(str(tmp_path / "tiny.pth"), engine="torch")
    rounded = registry.build(str(tmp_path / "tiny.pth"), precision="bfloat16")
    assert exact.spec.variant == ""
    assert rounded.spec.variant == "bfloat16"
    assert exact.spec.weights_hash == rounded.spec.weights_hash


def test_a_model_says_what_runs_it(
    engine: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "vit_b", TINY)
    torch.save(random_sam(TINY, 1024).state_dict(), tmp_path / "tiny.pth")
    built = registry.build(str(tmp_path / "tiny.pth"), encode_size=128, engine=engine)
    assert built.spec.engine == engine
    assert registry.build("compact").spec.engine == "torch"
    assert registry.build("box").spec.engine == ""


@pytest.mark.slow
def test_torch_compile_gives_the_same_embeddings() -> None:
    small = random_sam(TINY, 128).image_encoder
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        expected = small(images)
    try:
        with torch.inference_mode():
            found = build_encoder(small, engine="compile")(images)
    except Exception as failure:
        if "compiler" in str(failure).lower():
            pytest.skip("there is no C++ compiler here")
        raise
    assert error(found, expected) < 1e-4
