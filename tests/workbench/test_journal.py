"""Kill the server at any time, start again, and the work is there."""

from __future__ import annotations

import errno
import json
import os
import sys

import numpy as np
import pytest

from sammed.errors import InputError, OutputError, WeightsNotFoundError
from sammed.workbench import journal as journals
from sammed.workbench.journal import Journal, inlined, outlined, read_journal
from tests.phantoms import ORGAN, image_of, save_nifti
from tests.workbench.conftest import BOX, Stubs, journal_of, painted
from tests.workbench.test_work import shown

PUT = {"object": {"name": "organ", "boxes": [BOX]}}


def work(page):
    """Some edits of all kinds, with undo among them; what is there in the end."""
    page.ask("put", **PUT)
    page.ask("segment")
    frame, part = painted((4, 10, 10, 6, 20, 22))
    page.ask("put", [frame], object={"name": "b", "mask": [part], "propagate": "off"})
    page.ask("put", object={"name": "gone", "points": [{"at": [8, 17, 24]}]})
    page.ask("remove", name="gone")
    page.ask("rename", name="b", to="painted")
    page.ask("undo")
    page.ask("redo")
    page.ask("segment")
    return page.ask("show")


def same(before, after):
    assert before["prompts"] == after["prompts"]
    masks = [shown(told["masks"], ORGAN.shape) for told in (before, after)]
    assert masks[0].keys() == masks[1].keys()
    for name, mask in masks[0].items():
        assert np.array_equal(mask, masks[1][name])


@pytest.mark.thorough
def test_kill_9_in_the_middle_loses_nothing(process, scan):
    first = process(scan, "--model", "two_class")
    page = first.page()
    page.hello()
    before = work(page)
    page.send("segment")
    first.kill()
    second = process(scan)
    page = second.page()
    told = page.hello()["scan"]
    assert (told["restored"]["objects"], told["dirty"]) == (2, True)
    assert told["restored"]["edits"] == 7
    assert told["restored"]["when"]
    assert page.ask("show")["stale"] == ["organ", "painted"]
    page.ask("segment")
    after = page.ask("show")
    same(before, after)
    for _ in range(4):
        assert page.ask("undo")["event"] == "done"
    assert page.ask("undo")["objects"] == []
    page.ask("quit", force=True)
    assert second.process.wait(15) == 0
    assert "the next start goes on from there" in second.process.stderr.read()


def test_the_work_goes_on_where_it_was_and_again(start, scan):
    for n in range(3):
        server = start(scan)
        page = server.page()
        page.hello()
        assert len(page.ask("show")["objects"]) == n
        page.ask("put", object={"name": f"o{n}", "boxes": [BOX]})
        page.ask("quit", force=True)
        server.thread.join(15)
    lines = journal_of(scan).read_text().splitlines()
    assert [json.loads(line).get("do") for line in lines] == [None, "base", "put", "put", "put"]


def test_nothing_is_written_before_something_is_done(page, scan):
    page.ask("show")
    page.ask("window")
    assert [p.name for p in scan.parent.iterdir()] == ["ct.nii.gz"]
    page.ask("put", **PUT)
    head = json.loads(journal_of(scan).read_text().splitlines()[0])
    assert head["sammed-journal"] == 1
    assert len(head["volume"]) == 64
    assert head["name"] == "ct.nii.gz"


def test_a_line_is_on_the_disk_before_its_request_is_answered(page, scan):
    for n in range(1, 6):
        page.ask("put", object={"name": f"o{n}", "boxes": [BOX]})
        assert len(read_journal(journal_of(scan)).entries) == n + 1


def test_a_torn_line_is_dropped_with_a_word(start, scan):
    server = start(scan)
    page = server.page()
    page.hello()
    work(page)
    page.ask("quit", force=True)
    server.thread.join(15)
    path = journal_of(scan)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"do": "put", "object": {"name": "ha')
    server = start(scan)
    page = server.page()
    assert any("is lost" in note for note in page.hello()["scan"]["notes"])
    assert page.ask("show")["objects"] == ["organ", "painted"]
    page.ask("remove", name="painted")
    record = read_journal(path)
    assert not record.torn
    assert record.entries[-1]["do"] == "remove"


def test_a_journal_of_another_image_is_set_aside_untouched(start, scan):
    server = start(scan)
    page = server.page()
    page.hello()
    page.ask("put", **PUT)
    page.ask("quit", force=True)
    server.thread.join(15)
    before = journal_of(scan).read_bytes()
    save_nifti(scan, image_of(ORGAN, seed=6))
    page = start(scan).page()
    told = page.hello()["scan"]
    assert told["restored"] is None
    aside = scan.with_name("ct.labels.1.sammed-journal.jsonl")
    assert any("of another image" in n and aside.name in n for n in told["notes"])
    assert aside.read_bytes() == before
    assert page.ask("show")["objects"] == []


@pytest.mark.parametrize("content", [b"", b"{}\n", b"no json\n", b'{"sammed-journal": 9}\n', b"\0"])
def test_what_is_no_journal_is_set_aside(start, scan, content):
    journal_of(scan).write_bytes(content)
    page = start(scan).page()
    assert any("moved to" in note for note in page.hello()["scan"]["notes"])
    assert page.ask("put", **PUT)["changed"]
    assert scan.with_name("ct.labels.1.sammed-journal.jsonl").read_bytes() == content


def test_a_journal_whose_steps_make_no_sense_is_kept_and_what_could_be_done_is_there(start, scan):
    server = start(scan)
    page = server.page()
    page.hello()
    page.ask("put", **PUT)
    page.ask("quit", force=True)
    server.thread.join(15)
    path = journal_of(scan)
    broken = path.read_bytes() + b'{"do": "put", "object": {"name": "b", "boxes": 7}}\n'
    path.write_bytes(broken)
    server = start(scan)
    page = server.page()
    page.hello()
    assert page.ask("show")["objects"] == ["organ"]
    assert any("2 could be done again" in n for n in page.hello()["scan"]["notes"])
    assert scan.with_name("ct.labels.1.sammed-journal.jsonl").read_bytes() == broken
    page.ask("put", object={"name": "c", "boxes": [BOX]})
    page.ask("quit", force=True)
    server.thread.join(15)
    page = start(scan).page()
    page.hello()
    assert page.ask("show")["objects"] == ["organ", "c"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_really(start, scan, home):
    scan.parent.chmod(0o500)
    unwritable(start, scan, home)
    scan.parent.chmod(0o700)


def test_a_folder_that_cannot_be_written_to(start, scan, home, monkeypatch, tmp_path):
    """The journal goes where such things are kept, outputs to where the program was started."""
    from sammed.io import output

    real = os.access
    monkeypatch.setattr(output.os, "access", lambda p, m: str(p) != str(scan.parent) and real(p, m))
    monkeypatch.chdir(tmp_path)
    unwritable(start, scan, home)


def unwritable(start, scan, home):
    for objects in ([], ["organ"]):
        server = start(scan)
        page = server.page()
        told = page.hello()["scan"]
        assert any("cannot be written to" in note for note in told["notes"])
        assert told["output"]["folder"] == os.getcwd()
        assert page.ask("show")["objects"] == objects
        page.ask("put", **PUT)
        page.ask("quit", force=True)
        server.thread.join(15)
    assert list((home / "state" / "journals").glob("*.jsonl"))
    assert not journal_of(scan).exists()


def test_a_full_disk_is_told_and_the_work_goes_on_and_is_kept_later(page, scan, monkeypatch):
    page.ask("put", **PUT)
    kept = read_journal(journal_of(scan)).entries

    def full(fileno):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journals.os, "fsync", full)
    answer = page.ask("put", object={"name": "b", "boxes": [BOX]})
    assert answer["objects"] == ["organ", "b"]
    note = next(m for m in page.pushed if m["event"] == "note")
    assert "no space is left on the disk" in note["text"]
    assert read_journal(journal_of(scan)).entries == kept
    page.ask("put", object={"name": "c", "boxes": [BOX]})
    monkeypatch.undo()
    page.ask("put", object={"name": "d", "boxes": [BOX]})
    record = read_journal(journal_of(scan))
    assert record.entries[-1]["then"] == ["organ", "b", "c", "d"]
    assert not record.is_saved


def test_a_long_journal_is_written_anew_when_it_is_opened_again(start, scan, monkeypatch):
    monkeypatch.setattr(journals, "MOST_LINES", 20)
    server = start(scan)
    page = server.page()
    page.hello()
    before = work(page)
    for n in range(30):
        page.ask("put", object={"name": "organ", "boxes": [BOX], "label": 3 + n % 2})
    page.ask("segment")
    before = page.ask("show")
    page.ask("quit", force=True)
    server.thread.join(15)
    long = journal_of(scan).stat().st_size
    for _ in range(2):
        server = start(scan)
        page = server.page()
        assert page.hello()["scan"]["dirty"]
        told = page.ask("show")
        assert journal_of(scan).stat().st_size < long / 2
        page.ask("segment")
        same(before, page.ask("show"))
        page.ask("quit", force=True)
        server.thread.join(15)
    assert [e["do"] for e in read_journal(journal_of(scan)).entries][:2] == ["base", "changed"]
    assert told["objects"] == ["organ", "painted"]


def test_what_was_saved_is_known_to_be(start, scan):
    server = start(scan)
    page = server.page()
    page.hello()
    page.ask("put", **PUT)
    page.ask("save", files=[{"format": "nifti", "name": "ct.labels.nii.gz"}])
    page.ask("quit")
    server.thread.join(15)
    page = start(scan).page()
    told = page.hello()["scan"]
    assert told["dirty"] is False
    assert page.ask("show")["dirty"] is False
    assert page.ask("remove", name="organ")["dirty"] is True


def test_settings_are_kept_and_those_of_the_command_line_count_for_more(start, scan):
    server = start(scan)
    page = server.page()
    page.hello()
    page.ask("put", **PUT)
    page.ask("settings", model="other", options={"plane": "axial"})
    page.ask("quit", force=True)
    server.thread.join(15)
    server = start(scan)
    page = server.page()
    page.hello()
    assert page.ask("show")["objects"] == ["organ"]
    told = page.hello()["scan"]
    assert (told["model"], told["options"]) == ("other", {"plane": "axial"})
    page.ask("quit", force=True)
    server.thread.join(15)
    page = start(scan, model="third", window="soft-tissue").page()
    page.hello()
    assert page.ask("show")["objects"] == ["organ"]
    told = page.hello()["scan"]
    assert told["model"] == "third"
    assert told["options"] == {"plane": "axial", "window": "soft-tissue"}


def test_work_with_a_model_that_is_gone_is_there_with_another(start, scan):
    server = start(scan, model="first")
    page = server.page()
    page.hello()
    page.ask("put", **PUT)
    page.ask("settings", model="second")
    page.ask("put", object={"name": "b", "boxes": [BOX]})
    page.ask("quit", force=True)
    server.thread.join(15)

    class Without(Stubs):
        def model(self, name, device, threads):
            if name == "second":
                raise WeightsNotFoundError("the weights of 'second' are not here")
            return super().model(name, device, threads)

    page = start(scan, engine=Without()).page()
    page.hello()
    assert page.ask("show")["objects"] == ["organ", "b"]
    told = page.hello()["scan"]
    assert told["model"] == "first"
    assert any("the weights of 'second' are not here" in note for note in told["notes"])
    assert page.ask("segment")["stale"] == []


def test_labels_of_before_are_kept_with_the_first_edit(start, scan, tmp_path):
    before = save_nifti(tmp_path / "before.nii.gz", np.where(ORGAN, 3, 0).astype(np.uint8))
    server = start(scan, labels=(before,))
    page = server.page()
    page.hello()
    page.ask("put", object={"name": "b", "boxes": [BOX]})
    page.ask("quit", force=True)
    server.thread.join(15)
    before.unlink()
    save_nifti(before, np.where(ORGAN, 5, 0).astype(np.uint8))
    page = start(scan, labels=(before,)).page()
    assert any("were not read again" in note for note in page.hello()["scan"]["notes"])
    told = page.ask("show")
    assert told["objects"] == ["label_3", "b"]
    page.ask("segment")
    masks = shown(page.ask("show")["masks"], ORGAN.shape)
    assert np.array_equal(masks["label_3"], ORGAN)


def test_the_window_that_was_chosen_is_kept(start, tmp_path):
    """It is chosen by the first objects; with those of later it might be another one."""
    voxels = np.where(ORGAN, 100, -800).astype(np.int16)
    path = save_nifti(tmp_path / "lung.nii.gz", voxels)
    server = start(path)
    page = server.page()
    page.hello()
    page.ask("put", object={"name": "air", "blocks": [{"block": [0, 0, 0, 2, 4, 4]}]})
    page.ask("segment")
    chosen = page.ask("window")
    page.ask("put", **PUT)
    page.ask("put", object={"name": "air", "blocks": [{"block": [8, 16, 23, 9, 18, 25]}]})
    page.ask("quit", force=True)
    server.thread.join(15)
    page = start(path).page()
    page.hello()
    page.ask("segment")
    assert page.ask("window") | {"id": 0} == chosen | {"id": 0}
    assert chosen["name"] == "lung"


def test_two_starts_on_one_scan_do_not_write_into_each_other(start, scan):
    page = start(scan).page()
    page.hello()
    page.ask("put", **PUT)
    with pytest.raises(InputError, match="another sammed open works on this scan"):
        start(scan)


def test_choosing_the_same_scan_again_goes_on(start, scan):
    page = start(scan).page()
    page.hello()
    page.ask("put", **PUT)
    entry = page.hello()["recent"][0]
    assert page.ask("choose", choice=entry["id"])["scan"]["restored"]["objects"] == 1
    assert page.ask("show")["objects"] == ["organ"]
    assert page.ask("put", object={"name": "b", "boxes": [BOX]})["changed"]
    assert len(read_journal(journal_of(scan)).entries) == 3


def test_arrays_are_packed_into_lines_and_out_again():
    reference = {"frame": 1, "dtype": "|u1", "shape": [2, 2]}
    request = {"object": {"mask": [{"data": reference, "block": [1]}]}, "frame": 3}
    lines = json.loads(json.dumps(inlined(request, [b"", b"\1\2\3\4"])))
    frames: list[bytes] = []
    again = outlined(lines, frames)
    assert frames == [b"\1\2\3\4"]
    assert again["object"]["mask"][0]["data"] == {**reference, "frame": 0}


def test_a_journal_that_cannot_be_made_says_why(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        Journal(tmp_path / "none" / "a.jsonl", lambda: "0", "a").append({"do": "undo"})


def test_on_windows_a_byte_far_beyond_the_end_is_locked(tmp_path, monkeypatch):
    asked = []

    class Locks:
        LK_NBLCK = 2

        def locking(self, file, mode, count):
            asked.append((os.lseek(file, 0, os.SEEK_CUR), mode, count))
            if len(asked) > 1:
                raise OSError(errno.EACCES, "in use")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", Locks())
    path = tmp_path / "scan.sammed-journal.jsonl"
    path.write_bytes(b"one line")
    with path.open("r+b") as file:
        file.seek(4)
        journals._lock(file)
        assert file.tell() == 4
        with pytest.raises(OSError, match="in use"):
            journals._lock(file)
        assert file.tell() == 4
    assert asked == [(journals.FAR, 2, 1)] * 2
    assert path.read_bytes() == b"one line"
