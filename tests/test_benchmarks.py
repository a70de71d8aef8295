"""The benchmarks' rows run and check what they say, on a network small enough for a test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as runner
from benchmarks import (
    cases,
    encoder,
    end_to_end,
    growth,
    keeping,
    loop_table,
    machine,
    rows,
    shortcuts,
    table,
)  # fmt: skip
from sammed.models.sam.network import ARCHITECTURES
from tests.models.networks import TINY
from tests.phantoms import ROOT

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(ARCHITECTURES, "vit_b", TINY)
    cases.random_network.cache_clear()
    yield
    cases.random_network.cache_clear()


def test_objects_share_their_encodes_and_masks_are_the_naive_loops() -> None:
    found = end_to_end.objects(2, slices=2)
    assert (found["encodes"], found["decodes"], found["compared_masks"]) == (2, 4, 4)
    assert found["exact"], found
    assert found["dice"] > 0.9999
    assert found["ratio"] > 0


def test_a_cached_run_encodes_nothing_and_gives_the_same() -> None:
    found = end_to_end.cached(slices=2)
    assert found["encodes_again"] == 0
    assert found["exact"]
    assert found["folder_mb"] == pytest.approx(2 * 2.1, rel=0.1)


def test_zoomed_views_are_encoded_apart() -> None:
    apart, together = (shortcuts.small(zoom, slices=1, number=2, size=256) for zoom in (2.0, None))
    assert (apart["encodes"], together["encodes"]) == (2, 1)
    assert 0 <= apart["dice"] <= 1


def test_fewer_tokens_are_quicker_and_differ() -> None:
    found = shortcuts.encode_size(256, slices=1)
    assert found["ratio"] > 1
    assert found["dice"] < 1


def test_a_stride_encodes_less_and_keeps_compacts_masks() -> None:
    found = shortcuts.stride(2, slices=20)
    assert found["ratio"] > 1
    assert found["dice"] > 0.9


def test_growth_is_measured_in_slices_and_objects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(growth, "COUNTS", (1, 2))
    found = growth.growth(slices=8, vit_b_slices=4)
    assert list(found["curves"]["compact"]["slices"]) == [1, 2, 4, 8]
    assert list(found["curves"]["ViT-B"]["objects, 1 slice"]) == [1, 2]
    table.plot(found["curves"], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_the_bend_of_a_curve() -> None:
    assert growth.bend({1: 3.0, 2: 5.0, 4: 9.0}) == 0
    assert growth.bend({1: 1.0, 2: 4.0, 4: 16.0}) > 0.05


def test_compact_is_timed_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    found = encoder.compact_view(rounds=1)
    assert found["ratio"] > 0.1
    assert found["vit_b_over_view"] > 0


def test_the_encoder_row_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "MATRIX", 256)
    found = encoder.encode("torch")
    assert found["exact"]
    assert found["gflops_matrix"] > 1


def test_half_precision_hardly_moves_masks() -> None:
    assert keeping.half_precision(slices=1)["ratio"] > 0.99


def test_vit_b_needs_as_much_arithmetic_as_is_known() -> None:
    from sammed.models.sam.network import Architecture

    vit_b = Architecture(768, 12, 12, (2, 5, 8, 11))
    assert encoder.gflop(vit_b) == pytest.approx(940, rel=0.05)


def test_boxes_hold_their_objects() -> None:
    scan = cases.volume(6, side=96)
    for number in range(5):
        for z, box in cases.boxes(number, 6, side=96).items():
            assert (scan.voxels[z][box.slices] > 40).any()
            assert not box.is_empty


def test_a_row_knows_whether_it_met_its_target() -> None:
    at_least, at_most = rows.ROWS["objects-5"], rows.ROWS["nifti"]
    assert [at_least.met(r) for r in (7.9, 8.0, None)] == [False, True, None]
    assert [at_most.met(r) for r in (1.3, 1.31)] == [True, False]
    assert json.dumps(machine.describe())


ENGINES = {
    "encode-torch": {"ratio": 1.7, "share_of_matrix": 0.55, "exact": True},
    "encode-openvino": {"ratio": 2.2, "share_of_matrix": 0.71, "exact": False},
    "encode-onnxruntime": {"error": "not installed"},
}


def test_a_row_may_be_read_from_the_best_of_others() -> None:
    best = rows.ROWS["gflops"].read(ENGINES)
    assert best == {"ratio": 0.71, "from": "encode-openvino", "exact": False}
    assert "error" in rows.ROWS["gflops"].read({"encode-torch": {"error": "no"}})
    measured = rows.measure("gflops", {}, known=ENGINES)
    assert (measured["met"], measured["unit"]) == (True, "share")
    assert measured["machine"]["cores"]


def test_every_row_says_what_it_is_and_takes_its_options() -> None:
    for name, row in rows.ROWS.items():
        assert (row.run is None) == bool(row.of), name
        assert set(row.of) <= set(rows.ROWS), name
    run = rows.ROWS["objects-1"].run
    assert run is not None
    assert [run.takes(o) for o in ("slices", "number", "size")] == [True, False, False]


def test_the_table_goes_into_the_page_between_its_marks(tmp_path: Path) -> None:
    measured = [
        rows.described(name, found) | {"machine": {"processor": "abacus", "cores": 2}}
        for name, found in ENGINES.items()
    ]
    measured.append(
        rows.described("zoom-512", {"ratio": 20.0, "dice": 0.5, "note": "8 slices"})
        | {"machine": {}}
    )
    table.write(measured, tmp_path)
    text = table.markdown(table.read(tmp_path))
    assert "processor abacus; cores 2" in text
    (zoomed,) = [line for line in text.splitlines() if line.startswith("| `zoom-512`")]
    cells = [cell.strip() for cell in zoomed.split("|")[4:-1]]
    assert cells == ["20 ×", "≥ 25 ×", "**missed**", "Dice 0.500"]
    assert "- `zoom-512`: 8 slices." in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    for _ in range(2):
        table.put(page, text)
    assert page.read_text() == f"before\n{table.BEGIN}\n{text}\n\n{table.END}\nafter\n"
    with pytest.raises(ValueError, match="has no <!-- table -->"):
        table.put(tmp_path / "results.csv", text)
    assert (tmp_path / "results.csv").read_text().startswith("# processor abacus; cores 2\n")


def test_a_whole_run_keeps_each_row_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str, options: list[str]) -> dict[str, object]:
        return rows.described(name, dict(ENGINES[name]))

    monkeypatch.setattr(runner, "measure_apart", found)
    kept: list[list[str]] = []
    names = [*ENGINES, "gflops"]
    results = runner.run_all(names, [], lambda r: kept.append([x["name"] for x in r]))
    assert kept == [names[:n] for n in (1, 2, 3, 4)]
    assert results[-1]["ratio"] == 0.71
    assert results[-2]["error"] == "not installed"


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--list"]) == 0
    assert "encode-torch" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        runner.main(["no-such-row"])
    assert "unknown row 'no-such-row'" in capsys.readouterr().err


def test_named_rows_join_the_results_of_former_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.write([rows.described("half", {"ratio": 1.0})], tmp_path)
    write, read = table.write, table.read
    monkeypatch.setattr(table, "read", lambda: read(tmp_path))
    monkeypatch.setattr(table, "write", lambda results: write(results, tmp_path))
    monkeypatch.setattr(
        runner, "measure_apart", lambda name, options: rows.described(name, {"ratio": 2.0})
    )
    assert runner.main(["container", "--keep"]) == 0
    assert [(r["name"], r["ratio"]) for r in read(tmp_path)] == [("container", 2.0), ("half", 1.0)]
    assert runner.main(["nifti"]) == 0
    assert len(read(tmp_path)) == 2


def test_the_loop_s_table_reads_what_its_commands_print(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(loop_table, "FILE", tmp_path / "loop.json")
    draw = {"draw": 0, "seconds": 9, "estimates": {"all": {"r": 0.8, "error": 0.02}}}
    whole = {"mean": {"dice": 0.83, "low": 0.8, "high": 0.85}}
    found = loop_table.segmenter([draw, {**draw, "seconds": 8}, whole])
    assert found["value"] == 0.83
    assert found["estimates"] == {"r": 0.8, "error": 0.02}
    tuned = {"difference": 0.05, "after": 0.9, "low": 0.01, "high": 0.09, "learned": {}}
    assert loop_table.gained([tuned, {**tuned, "difference": 0.07}])["value"] == 0.06
    assert loop_table.reached([tuned])["interval"] == [0.01, 0.09]
    ran = []
    monkeypatch.setattr(
        loop_table,
        "run",
        lambda row, draws: ran.append(row) or {**found, "draws": draws if row.drawn else 1},
    )
    for options in ([], [], ["--draws", "2"], ["--again"], ["--show", "--again"]):
        monkeypatch.setattr("sys.argv", ["loop_table", "--rows", "hippocampus-3,prompts", *options])
        assert loop_table.main() == 0
    names = [row.what[:7] for row in ran]
    assert names == ["hippoca", "prompts", "hippoca", "hippoca", "prompts"]  # one has no draws
    assert not any(str(loop_table.COHORTS) in row.command for row in loop_table.ROWS.values())
    rows = {line.split("|")[1].strip(): line for line in capsys.readouterr().out.splitlines()[-12:]}
    assert " met " in rows["hippocampus-3"]
    assert " missed " in rows["prompts"]  # at most 0.4 is wanted
    assert "not measured" in rows["many"]
    for row in loop_table.ROWS.values():
        module = row.command.split()[0]
        assert module == "sammed" or (ROOT / f"{module.replace('.', '/')}.py").exists()
