import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sammed.worker.exchange import PREFIX, Exchange, digest, remove_stale
from sammed.worker.messages import Fields, RequestError

ARRAY = np.arange(5 * 7 * 11, dtype=np.int16).reshape(5, 7, 11)


@pytest.fixture
def exchange(tmp_path):
    made = Exchange(tmp_path)
    yield made
    made.close()


def test_what_is_written_is_read_again(exchange):
    reference = exchange.write(ARRAY[:, ::-1])
    read = exchange.read(Fields(reference, "data"))
    assert np.array_equal(read, ARRAY[:, ::-1])
    assert not read.flags.writeable


def test_answers_go_when_released(exchange):
    path = Path(exchange.write(ARRAY)["path"])
    exchange.release()
    assert not path.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_folder_is_private_and_goes_at_the_end(exchange):
    assert exchange.folder.stat().st_mode & 0o077 == 0
    exchange.write(ARRAY)
    exchange.close()
    assert not exchange.folder.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_so_and_nothing_is_left(exchange, monkeypatch):
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: opened(Path("/dev/full"), "wb"))
    with pytest.raises(RequestError, match=r"cannot write 770 bytes.*No space left") as caught:
        exchange.write(ARRAY)
    assert caught.value.code == "disk_full"
    assert list(exchange.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"path": "/nowhere/x.raw"}, "exchange", "cannot read"),
        ({"shape": [5, 7, 12]}, "exchange", "has 770 bytes, its reference asks for 840"),
        ({"offset": -2}, "exchange", "asks for"),
        ({"dtype": "object"}, "bad_request", "dtype 'object'"),
        ({"dtype": "O"}, "bad_request", "dtype 'O'"),
        ({"dtype": "nonsense"}, "bad_request", "dtype 'nonsense'"),
        ({"shape": [0, 7, 11]}, "bad_request", "is empty"),
        ({"shape": "5"}, "bad_request", "must be a list"),
    ],
)
def test_a_reference_that_does_not_hold_is_refused(exchange, change, code, says):
    reference = {**exchange.write(ARRAY), **change}
    with pytest.raises(RequestError, match=says) as caught:
        exchange.read(Fields(reference, "data"))
    assert caught.value.code == code


def test_only_files_of_its_own_folder_are_removed(exchange, tmp_path):
    mine, foreign = exchange.folder / "volume.raw", tmp_path / "precious.raw"
    mine.write_bytes(b"1")
    foreign.write_bytes(b"1")
    for path in (mine, foreign, exchange.folder / ".." / "precious.raw"):
        exchange.forget(Fields({"path": str(path)}, "data"))
    assert not mine.exists()
    assert foreign.exists()


@pytest.mark.skipif(os.name != "posix", reason="processes are looked up on POSIX")
def test_folders_of_dead_workers_are_removed_and_no_others(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale = tmp_path / f"{PREFIX}{dead.pid}-abc"
    alive = tmp_path / f"{PREFIX}{os.getppid()}-abc"
    foreign = tmp_path / f"{PREFIX}notes"
    for folder in (stale, alive, foreign):
        folder.mkdir()
    assert remove_stale(tmp_path) == [stale]
    assert [p.exists() for p in (stale, alive, foreign)] == [False, True, True]


def test_the_digest_does_not_depend_on_the_memory_layout():
    assert digest(ARRAY) == digest(np.asfortranarray(ARRAY))
    assert digest(ARRAY) != digest(ARRAY + 1)
