"""One job over many scans in this process: the record, failures, resuming, claims, leases."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from sammed.errors import InputError, ModelError, OutputError, PartlyFailedError
from sammed.many import attempt, runner
from sammed.many.content import ABSENT, is_same, look
from sammed.many.crew import Crew
from sammed.many.memory import MODEL_BYTES, needed, unpacked
from sammed.many.record import Record, clear_left_over
from sammed.many.runner import check_all_done, run_many
from sammed.many.task import Entry, Task
from sammed.project import lease as leases
from sammed.project.lease import InWorkError, held, holder_of, take
from sammed.version import __version__
from tests.many.jobs import Diary, numbers
from tests.phantoms import ROOT


@pytest.fixture
def job(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "record")


def test_every_scan_is_done_once_with_one_model(job: Diary) -> None:
    told = []
    outcomes = run_many(job, numbers(5, 0.0), told=told.append)
    assert [(one.id, one.state, one.kept) for one in outcomes] == [
        (f"scan-{n:02}", "done", False) for n in range(5)
    ]
    assert job.count("ready", "-") == 1
    assert told[-1].done == told[-1].total == 5
    assert told[-1].seconds_left == 0
    assert any(a.text == "scan-03" for a in told)
    assert json.loads((job.record / "job.json").read_text())["scans"] == 5


def test_what_is_finished_is_not_done_again(job: Diary) -> None:
    run_many(job, numbers(3, 0.0))
    outcomes = run_many(job, numbers(4, 0.0))
    assert [one.kept for one in outcomes] == [True, True, True, False]
    assert set(job.ends().values()) == {1}
    run_many(Diary(job.record, "2"), numbers(4, 0.0))
    assert set(job.ends().values()) == {2}


def test_a_failure_is_recorded_in_a_line_and_stops_nothing(job: Diary) -> None:
    tasks = [Task("a"), Task("b", "bad"), Task("c", "broken"), Task("d", "flaky"), Task("e")]
    outcomes = {one.id: one for one in run_many(job, tasks)}
    assert {id: one.state for id, one in outcomes.items()} == {
        "a": "done", "b": "failed", "c": "failed", "d": "done", "e": "done",
    }  # fmt: skip
    assert outcomes["b"].error == "the scan is bad"
    assert outcomes["c"].error == "OSError: the drive is away"
    assert [job.count("begin", id) for id in "abcde"] == [1, 1, 3, 3, 1]
    record = Record(job.record)
    assert (record.entry("b").state, record.entry("b").error) == ("failed", "the scan is bad")
    assert record.entry("c").tries == record.entry("d").tries == 3
    with pytest.raises(PartlyFailedError, match="2 of 5 scans failed"):
        check_all_done(outcomes.values())
    run_many(job, tasks)  # those that failed are tried again, and no others
    assert [job.count("end", id) for id in "abcde"] == [1, 0, 0, 1, 1]
    assert job.count("begin", "b") == 2


def test_when_all_fail_it_is_no_partial_failure(job: Diary) -> None:
    with pytest.raises(InputError, match=r"all 2 scans failed; no scan could be done: the scan is"):
        check_all_done(run_many(job, numbers(2, "bad")))


def test_a_model_that_cannot_be_loaded_stops_the_run_at_once(job: Diary, monkeypatch) -> None:
    def broken(self: Diary) -> str:
        raise RuntimeError("no such GPU")

    monkeypatch.setattr(Diary, "prepare", broken)
    monkeypatch.setattr(attempt, "_tools", {})
    with pytest.raises(ModelError, match=r"cannot be loaded on .*: RuntimeError: no such GPU"):
        run_many(job, numbers(3))


def test_a_worker_that_sees_other_folders_stops_the_run(job: Diary) -> None:
    with pytest.raises(OutputError, match="all workers must reach the same folders"):
        attempt.remote(job, Task("a"), 1, __version__, job.record / "stop")
    assert not job.record.exists()


def test_stopped_in_the_middle_it_goes_on(job: Diary) -> None:
    def stop(advance: runner.Advance) -> None:
        if advance.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_many(job, numbers(4, 0.0), told=stop)
    assert len(job.ends()) == 2
    assert [one.kept for one in run_many(job, numbers(4, 0.0))] == [True, True, False, False]
    assert set(job.ends().values()) == {1}


def test_a_record_that_was_cut_counts_for_nothing(job: Diary) -> None:
    run_many(job, numbers(2, 0.0))
    (job.record / "scans" / "scan-00.json").write_text('{"format": "sammed-rec')
    (job.record / "scans" / "scan-01.json").write_text('{"format": "sammed-record/1"}')
    assert [one.kept for one in run_many(job, numbers(2, 0.0))] == [False, False]


def test_two_programs_share_and_nothing_is_done_twice(job: Diary, monkeypatch) -> None:
    """What another program is at comes last, and is taken over as it left it."""
    monkeypatch.setattr(runner, "LATER_S", 0.1)
    record = Record(job.record)
    record.begin({})
    claimed = record.claimed("scan-00")
    claimed.__enter__()

    def finish() -> None:
        time.sleep(0.6)
        record.write(Entry("scan-00", "done", {"mark": "1"}))
        claimed.__exit__(None, None, None)

    told: list[str] = []
    other = threading.Thread(target=finish)
    other.start()
    outcomes = run_many(job, numbers(3, 0.0), told=lambda a: told.append(a.text))
    other.join()
    assert [one.state for one in outcomes] == ["done"] * 3
    assert [one.kept for one in outcomes] == [True, False, False]
    assert job.ends() == {"scan-01": 1, "scan-02": 1}
    assert any(text.startswith("waiting: scan-00 is in work: ") for text in told)


def test_ids_that_cannot_be(job: Diary) -> None:
    with pytest.raises(InputError, match="two scans are called 'A'"):
        run_many(job, [Task("a"), Task("A")])
    with pytest.raises(InputError, match="'a/b' cannot name a file"):
        run_many(job, [Task("a/b")])


def test_a_record_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "record").write_text("a file")
    with pytest.raises(OutputError, match="is a file; give a folder"):
        run_many(Diary(tmp_path / "record"), numbers(1))


def test_a_crew_of_both_kinds_or_of_none() -> None:
    with pytest.raises(InputError, match="not both"):
        Crew(2, "tcp://head:8786")
    with pytest.raises(InputError, match="0 workers"):
        Crew(0)


# -- files by their content --------------------------------------------------------------------


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    first = look(file)
    file.touch()
    assert look(file)["stat"] != first["stat"]
    assert is_same(file, first)
    file.write_bytes(b"two")
    assert not is_same(file, first)
    assert not is_same(file, None)
    assert look(tmp_path / "none") == ABSENT
    assert look(tmp_path) != ABSENT


def test_what_was_not_touched_is_not_read_again(tmp_path: Path, monkeypatch) -> None:
    from sammed.many import content

    file = tmp_path / "a.bin"
    file.write_bytes(b"one")
    first = look(file)
    monkeypatch.setattr(content, "_content", lambda path: pytest.fail("it was read"))
    assert look(file, first) == first


def test_voxels_beside_a_header_and_files_in_a_folder_count(tmp_path: Path) -> None:
    header, voxels, series = tmp_path / "a.mhd", tmp_path / "a.raw", tmp_path / "series"
    header.write_text("ElementDataFile = a.raw")
    voxels.write_bytes(b"1234")
    series.mkdir()
    (series / "1.dcm").write_bytes(b"1")
    before = look(header), look(series)
    voxels.write_bytes(b"1235")
    (series / "2.dcm").write_bytes(b"2")
    assert not is_same(header, before[0])
    assert not is_same(series, before[1])


def test_the_memory_of_a_packed_scan_is_that_of_its_voxels() -> None:
    scan = ROOT / "sample_data" / "phantom_ct.nii.gz"
    assert unpacked(scan) == 152 * 128 * 64 * 2
    assert needed([scan, ROOT / "none"], 4) == MODEL_BYTES + 4 * unpacked(scan)
    assert needed([]) == MODEL_BYTES


@pytest.mark.parametrize("name", ["cut.nii.gz", "cut.mgz", "cut.mgh.gz", "cut.raw.gz"])
def test_a_cut_or_damaged_file_needs_no_more_than_it_can_hold(tmp_path: Path, name: str) -> None:
    """The last bytes of what was cut are any number; so are those of a header that is damaged."""
    scan = ROOT / "sample_data" / "phantom_ct.nii.gz"
    cut = scan.read_bytes()[:80_000] + b"\xff" * 4
    (tmp_path / name).write_bytes(cut)
    assert 0 < unpacked(tmp_path / name) <= 152 * 128 * 64 * 2


def test_the_header_says_what_its_end_cannot(tmp_path: Path) -> None:
    """A packed file of more than 4 GB says the rest of a division at its end; frames are read one
    at a time; and a header that promises more than fits is not believed."""
    import gzip

    import nibabel
    import numpy as np

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)

    def packed(*shape: int) -> int:
        header.set_data_shape(shape)
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + bytes(1 << 20)))
        with path.open("ab") as stream:
            stream.write(bytes(6 << 20))
        return unpacked(path)

    assert packed(1290, 1024, 1024) == 4 * 1290 * 1024 * 1024 > 1 << 32
    assert packed(64, 64, 32, 500) == 4 * 64 * 64 * 32
    assert packed(30000, 30000, 30000) == 1032 * (tmp_path / "scan.nii.gz").stat().st_size
    image = nibabel.MGHImage(np.zeros((9, 8, 7, 3), np.int16), np.eye(4))
    image.to_filename(tmp_path / "scan.mgz")
    assert unpacked(tmp_path / "scan.mgz") == 9 * 8 * 7 * 2


@pytest.mark.thorough
def test_until_the_first_is_done_it_is_told_how_long_it_takes(
    job: Diary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sammed.cli import crew

    monkeypatch.setattr(crew, "SECONDS_A_LINE", 0.1)
    monkeypatch.setattr(crew, "SECONDS_A_LOOK", 0.05)
    with crew.scans_meter(quiet=False) as show:
        run_many(job, numbers(2, 1.3), told=show)
    told = capsys.readouterr().err.splitlines()
    first = [line for line in told if line.startswith("0/2 scan-00")]
    assert len(first) >= 3
    assert first[-1].endswith("at the first for 00:01")
    assert "left" in told[-1]


def test_what_a_killed_program_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    import os

    for name in (".sammed-old", ".sammed-new", ".git"):
        (tmp_path / name).mkdir()
    for name in (".sammed-old", ".git"):
        os.utime(tmp_path / name, (0, 0))
    clear_left_over(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".sammed-new", ".git"}


# -- leases that end soon ----------------------------------------------------------------------


def elsewhere(monkeypatch: pytest.MonkeyPatch, folder: Path, fresh_s: float) -> None:
    """A lease that a program on another computer took and did not give back."""
    with monkeypatch.context() as there:
        there.setattr(leases.socket, "gethostname", lambda: "node-7")
        take(folder, fresh_s=fresh_s)


def test_a_worker_that_died_on_another_computer_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch, tmp_path, 0.4)
    with pytest.raises(InWorkError, match="on node-7"):
        take(tmp_path)
    with held(tmp_path, 2.0):
        pass


def test_a_short_lease_is_renewed_while_it_is_held(tmp_path: Path) -> None:
    with held(tmp_path, 0.0, 0.4) as lease:
        time.sleep(1.0)
        lease.check()
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.renewed > holder.since
        with pytest.raises(InWorkError):
            take(tmp_path)
    assert holder_of(tmp_path) is None
