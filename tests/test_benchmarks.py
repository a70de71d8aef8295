"""The benchmarks' rows run and check what they say, on a network small enough for a test."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from benchmarks import __main__ as runner
from benchmarks import cases, encoder, end_to_end, keeping, machine
from sammed.models.sam_network import ARCHITECTURES
from tests.models.networks import TINY


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(ARCHITECTURES, "vit_b", TINY)
    cases.random_network.cache_clear()
    yield
    cases.random_network.cache_clear()


def test_objects_share_their_encodes_and_masks_are_the_naive_loops() -> None:
    found = end_to_end.objects(2, slices=2)
    assert (found["encodes"], found["decodes"]) == (2, 4)
    assert found["exact"], found
    assert found["dice"] > 0.9999
    assert found["ratio"] > 0


def test_a_cached_run_encodes_nothing_and_gives_the_same() -> None:
    found = end_to_end.cached(slices=2)
    assert found["encodes_again"] == 0
    assert found["exact"]
    assert found["folder_mb"] == pytest.approx(2 * 2.1, rel=0.1)


def test_zoomed_views_are_encoded_apart() -> None:
    assert end_to_end.zoomed(slices=1, number=2, size=256)["encodes"] == 2


def test_the_encoder_row_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "MATRIX", 256)
    found = encoder.encode("torch")
    assert found["exact"]
    assert found["gflops_matrix"] > 1


def test_half_precision_hardly_moves_masks() -> None:
    assert keeping.half_precision(slices=1)["dice_worst"] > 0.99


def test_vit_b_needs_as_much_arithmetic_as_is_known() -> None:
    from sammed.models.sam_network import Architecture

    vit_b = Architecture(768, 12, 12, (2, 5, 8, 11))
    assert encoder.gflop(vit_b) == pytest.approx(940, rel=0.05)


def test_boxes_hold_their_objects() -> None:
    scan = cases.volume(6, side=96)
    for number in range(5):
        for z, box in cases.boxes(number, 6, side=96).items():
            assert (scan.voxels[z][box.slices] > 40).any()
            assert not box.is_empty


def test_a_row_knows_whether_it_met_its_target() -> None:
    at_least, at_most = runner.ROWS["objects-5"], runner.ROWS["nifti"]
    assert [at_least.met(r) for r in (7.9, 8.0, None)] == [False, True, None]
    assert [at_most.met(r) for r in (1.3, 1.31)] == [True, False]
    assert json.dumps(machine.describe())
