"""The embedding store: memory, disk, damage, eviction, several processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sammed.cli.cache import app
from sammed.errors import InputError, SammedWarning
from sammed.imaging.boxes import Box2D
from sammed.imaging.intensity import Window
from sammed.models.protocols import Embedding, ModelSpec
from sammed.views import embedding_files
from sammed.views.embeddings import EmbeddingStore, store_for, view_key
from sammed.views.slices import View

SPEC = ModelSpec("vit_b", 1024, 256, eight_bit=True, expensive_encode=True, weights_hash="ab" * 32)
VIEW = View.whole(7, (5, 11), 1024)
WINDOW = Window(-160.0, 240.0, "soft tissue")
HASH = "0123456789abcdef" * 4
BYTES = 5 * 7 * 11 * 4


def embedding(seed: int = 0, extent: tuple[int, int] = (465, 1024)) -> Embedding:
    rng = np.random.default_rng(seed)
    return Embedding({"image": rng.standard_normal((5, 7, 11)).astype(np.float32)}, extent)


def key(index: int = 7, spec: ModelSpec = SPEC, volume: str = HASH, plane: str = "axial") -> str:
    return view_key(volume, plane, WINDOW, replace(VIEW, index=index), spec)


def same(a: Embedding | None, b: Embedding | None) -> None:
    assert a is not None
    assert b is not None
    assert a.extent == b.extent
    assert a.arrays.keys() == b.arrays.keys()
    for name, array in a.arrays.items():
        assert array.dtype == b.arrays[name].dtype
        np.testing.assert_array_equal(array, b.arrays[name])


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


class TestKey:
    def test_it_tells_apart_whatever_changes_the_embedding(self) -> None:
        keys = [
            key(),
            key(8),
            key(volume="f" * 64),
            key(volume=HASH[:-1] + "0"),
            key(plane="coronal"),
            key(spec=replace(SPEC, weights_hash="ab" * 31 + "ac")),
            key(spec=replace(SPEC, name="medsam")),
            key(spec=replace(SPEC, eight_bit=False)),
            key(spec=replace(SPEC, variant="bfloat16")),
            key(spec=replace(SPEC, context=1)),
            view_key(HASH, "axial", Window(-160.0, 241.0, "soft tissue"), VIEW, SPEC),
            view_key(HASH, "axial", WINDOW, View.whole(7, (5, 11), 512), SPEC),
            view_key(HASH, "axial", WINDOW, replace(VIEW, mirrored=True), SPEC),
            view_key(
                HASH, "axial", WINDOW, View.zoomed(7, Box2D(1, 2, 3, 4), 2, (1, 1), 1024), SPEC
            ),
        ]
        assert len(set(keys)) == len(keys)

    def test_it_stays_the_same_and_is_a_plain_path(self) -> None:
        assert key() == key()
        model, volume, view = key(spec=replace(SPEC, name="../my model/x")).split("/")
        assert model == ".._my_model_x-abababab"
        assert volume == "0123456789abcdef-axial"
        assert view.startswith("0007-")


class TestMemory:
    def test_least_recently_used_goes_first(self) -> None:
        store = EmbeddingStore(memory_bytes=3 * BYTES)
        for i in range(3):
            store.put(key(i), embedding(i))
        assert store.get(key(0)) is not None
        store.put(key(3), embedding(3))
        assert [key(i) in store for i in range(4)] == [True, False, True, True]
        assert store.nbytes == 3 * BYTES
        assert store.get(key(1)) is None
        assert (store.stats.memory_hits, store.stats.misses) == (1, 1)

    def test_replacing_does_not_count_twice(self) -> None:
        store = EmbeddingStore(memory_bytes=3 * BYTES)
        for _ in range(5):
            store.put(key(), embedding())
        assert store.nbytes == BYTES

    def test_one_that_is_larger_than_all_is_kept_until_the_next(self) -> None:
        store = EmbeddingStore(memory_bytes=10)
        store.put(key(0), embedding(0))
        assert key(0) in store
        store.put(key(1), embedding(1))
        assert [key(0) in store, key(1) in store] == [False, True]

    def test_in_memory_alone_nothing_is_rounded_or_copied(self) -> None:
        store = EmbeddingStore()
        original = embedding()
        assert store.put(key(), original).arrays["image"] is original.arrays["image"]


class TestDisk:
    def test_it_outlives_the_store(self, tmp_path: Path) -> None:
        kept = EmbeddingStore(folder=tmp_path).put(key(), embedding())
        again = EmbeddingStore(folder=tmp_path)
        same(again.get(key()), kept)
        same(again.get(key()), kept)
        assert again.get(key(8)) is None
        stats = again.stats
        assert (stats.disk_hits, stats.memory_hits, stats.misses) == (1, 1, 1)

    def test_rounding_does_not_depend_on_where_it_came_from(self, tmp_path: Path) -> None:
        store = EmbeddingStore(folder=tmp_path)
        kept = store.put(key(), embedding())
        assert kept.arrays["image"].dtype == np.float16
        same(store.get(key()), kept)
        same(EmbeddingStore(folder=tmp_path).get(key()), kept)
        exact = EmbeddingStore(folder=tmp_path, dtype="float32").put(key(), embedding())
        same(exact, embedding())

    def test_what_half_precision_cannot_hold_is_not_rounded(self, tmp_path: Path) -> None:
        large = Embedding(
            {"image": np.array([1e5, 2], np.float32), "levels": np.arange(3, dtype=np.uint8)},
            (1, 2),
        )
        EmbeddingStore(folder=tmp_path).put(key(), large)
        same(EmbeddingStore(folder=tmp_path).get(key()), large)

    def test_an_embedding_without_arrays(self, tmp_path: Path) -> None:
        EmbeddingStore(folder=tmp_path).put(key(), Embedding({}, (3, 4)))
        same(EmbeddingStore(folder=tmp_path).get(key()), Embedding({}, (3, 4)))

    @pytest.mark.parametrize("damage", ["cut", "empty", "flipped bit", "text", "of another format"])
    def test_a_damaged_file_is_computed_again_with_a_warning(
        self, tmp_path: Path, damage: str
    ) -> None:
        store = EmbeddingStore(folder=tmp_path)
        store.put(key(), embedding())
        (file,) = files(tmp_path)
        content = bytearray(file.read_bytes())
        if damage == "flipped bit":
            content[-5] ^= 4
        if damage == "of another format":
            content = bytearray(bytes(content).replace(b"embedding/1", b"embedding/9"))
        damaged = {"cut": content[:-100], "empty": b"", "text": b"no such chunk" * 9}
        file.write_bytes(damaged.get(damage, content))
        fresh = EmbeddingStore(folder=tmp_path)
        with pytest.warns(SammedWarning, match="is damaged .*; it is computed again"):
            assert fresh.get(key()) is None
        assert files(tmp_path) == []
        kept = fresh.put(key(), embedding())
        same(EmbeddingStore(folder=tmp_path).get(key()), kept)

    def test_other_weights_do_not_find_it(self, tmp_path: Path) -> None:
        EmbeddingStore(folder=tmp_path).put(key(), embedding())
        changed = replace(SPEC, weights_hash="ff" * 32)
        assert EmbeddingStore(folder=tmp_path).get(key(spec=changed)) is None

    def test_a_full_disk_is_said_once_and_the_run_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_space(self: Path, content: bytes) -> int:
            with self.open("wb") as stream:
                stream.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        store = EmbeddingStore(folder=tmp_path)
        with monkeypatch.context() as context:
            context.setattr(Path, "write_bytes", no_space)
            with pytest.warns(SammedWarning, match="no longer kept in .*: No space left"):
                store.put(key(0), embedding(0))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                store.put(key(1), embedding(1))
        assert store.get(key(0)) is not None
        assert store.stats.written == 0
        assert files(tmp_path) == []

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.warns(SammedWarning, match="no longer kept"):
            EmbeddingStore(folder=tmp_path / "x").put(key(), embedding())

    def test_a_file_in_place_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("in the way")
        store = EmbeddingStore(folder=tmp_path / "x")
        with pytest.warns(SammedWarning, match="no longer kept"):
            store.put(key(), embedding())
        assert store.get(key()) is not None


class TestEviction:
    def size(self, tmp_path: Path) -> int:
        EmbeddingStore(folder=tmp_path / "one").put(key(0), embedding())
        (file,) = files(tmp_path / "one")
        return file.stat().st_size + 16  # the checksum is written in 1 to 10 digits

    def test_the_cap_is_kept_and_what_was_used_stays(self, tmp_path: Path) -> None:
        size, folder = self.size(tmp_path), tmp_path / "many"
        store = EmbeddingStore(memory_bytes=0, folder=folder, disk_bytes=10 * size)
        for i in range(10):
            store.put(key(i), embedding(i))
            os.utime(sorted(folder.rglob(f"{i:04d}-*"))[0], (1000 + i, 1000 + i))
        reader = EmbeddingStore(folder=folder)
        assert reader.get(key(0)) is not None  # used again just now
        store.put(key(10), embedding(10))
        assert store.disk is not None
        assert store.disk.nbytes() <= 10 * size
        left = [EmbeddingStore(folder=folder).get(key(i)) is not None for i in range(11)]
        assert left == [True, False, False] + [True] * 8

    def test_what_other_processes_wrote_counts(self, tmp_path: Path) -> None:
        size, folder = self.size(tmp_path), tmp_path / "many"
        other = EmbeddingStore(folder=folder)
        for i in range(20):
            other.put(key(i), embedding(i))
        EmbeddingStore(folder=folder, disk_bytes=5 * size).put(key(99), embedding(99))
        assert len(files(folder)) <= 5
        assert EmbeddingStore(folder=folder).get(key(99)) is not None

    def test_a_single_one_over_the_cap_stays(self, tmp_path: Path) -> None:
        EmbeddingStore(folder=tmp_path, disk_bytes=1).put(key(), embedding())
        assert len(files(tmp_path)) == 1


WRITER = """
import sys, numpy as np
from pathlib import Path
from sammed.views.embeddings import EmbeddingStore
from sammed.models.protocols import Embedding
store = EmbeddingStore(memory_bytes=0, folder=Path(sys.argv[1]), disk_bytes=int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[2])):
    for i in range(8):
        array = np.full((40, 50, 60), i, np.float32)
        store.put(f"m/v/{i}", Embedding({"image": array}, (i, i)))
        found = store.get(f"m/v/{(i * 5 + 3) % 8}")
        if found is not None:
            value = set(np.unique(found.arrays["image"]).tolist())
            assert value == {float(found.extent[0])}, value
"""


def writer(folder: Path, turns: int, cap: int = 1 << 30) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WRITER, str(folder), str(turns), str(cap)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def start(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


class TestProcesses:
    @pytest.mark.parametrize("cap", [1 << 30, 1_000_000])
    def test_two_at_once_never_see_half_a_file(self, tmp_path: Path, cap: int) -> None:
        both = [writer(tmp_path, 12, cap), writer(tmp_path, 12, cap)]
        for process in both:
            start(process)
        for process in both:
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
        store = EmbeddingStore(folder=tmp_path)
        found = [store.get(f"m/v/{i}") for i in range(8)]
        assert sum(f is not None for f in found) >= (8 if cap > 1 << 20 else 2)

    def test_one_that_is_killed_leaves_whole_files(self, tmp_path: Path) -> None:
        process = writer(tmp_path, 10_000)
        start(process)
        time.sleep(0.4)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        store = EmbeddingStore(folder=tmp_path)
        kept = [p for p in files(tmp_path) if p.suffix == ".safetensors"]
        assert kept
        for file in kept:
            found = store.get(f"m/v/{file.stem}")
            assert found is not None
            assert (found.arrays["image"] == int(file.stem)).all()

    def test_what_it_left_unfinished_is_removed_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        EmbeddingStore(folder=tmp_path).put(key(), embedding())
        (file,) = files(tmp_path)
        torn = file.with_name(".writing-1-1")
        torn.write_bytes(b"half")
        EmbeddingStore(folder=tmp_path).put(key(1), embedding())
        assert torn.exists()  # someone may be writing it
        monkeypatch.setattr(embedding_files, "STALE_S", -1.0)
        EmbeddingStore(folder=tmp_path).put(key(2), embedding())
        assert not torn.exists()
        assert len(files(tmp_path)) == 3

    def test_threads_share_one_store(self, tmp_path: Path) -> None:
        store = EmbeddingStore(memory_bytes=3 * BYTES, folder=tmp_path)
        wrong: list[int] = []

        def work(offset: int) -> None:
            for i in range(60):
                number = (i + offset) % 6
                store.put(key(number), embedding(number))
                found = store.get(key((number + 1) % 6))
                if found is not None:
                    expected = embedding((number + 1) % 6).arrays["image"].astype(np.float16)
                    if not np.array_equal(found.arrays["image"], expected):
                        wrong.append(i)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert store.nbytes == sum(e.nbytes for e in store._kept.values())


class TestCommands:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("SAMMED_HOME", str(tmp_path))
        store = store_for(SPEC)
        for i in range(3):
            store.put(key(i), embedding(i))
        store.put(key(0, plane="coronal"), embedding())
        store.put(key(0, spec=replace(SPEC, name="vit_h")), embedding())
        return tmp_path

    def test_only_costly_models_are_kept_on_disk(self) -> None:
        assert store_for(SPEC).get(key(0)) is not None
        assert store_for(replace(SPEC, expensive_encode=False)).disk is None
        assert store_for(SPEC, keep=False).disk is None

    def test_path(self, home: Path) -> None:
        assert CliRunner().invoke(app, ["path"]).stdout.strip() == str(home / "embeddings")

    def test_ls(self) -> None:
        shown = CliRunner().invoke(app, ["ls"])
        assert shown.exit_code == 0, shown.output
        lines = shown.stdout.splitlines()
        assert [line.split()[-1] for line in lines] == [
            "vit_b-abababab/0123456789abcdef-axial",
            "vit_b-abababab/0123456789abcdef-coronal",
            "vit_h-abababab/0123456789abcdef-axial",
        ]
        assert " 3 views" in lines[0]
        assert "in 3 groups" in shown.stderr
        assert '"views": 3' in CliRunner().invoke(app, ["ls", "--json"]).stdout

    def test_rm_a_group_a_model_and_all(self, home: Path) -> None:
        def rm(*what: str) -> int:
            done = CliRunner().invoke(app, ["rm", *what])
            assert done.exit_code == 0, done.output
            assert "MB freed" in done.stderr
            return len(files(home / "embeddings"))

        assert rm("vit_b-abababab/0123456789abcdef-coronal") == 4
        assert rm("vit_b-abababab") == 1
        assert rm("--all") == 0
        assert CliRunner().invoke(app, ["ls"]).stdout == ""

    @pytest.mark.parametrize("what", [[], ["--all", "vit_b-abababab"], ["vit_b"], ["../.."]])
    def test_rm_of_nothing_in_particular_is_refused(self, home: Path, what: list[str]) -> None:
        refused = CliRunner().invoke(app, ["rm", *what])
        assert isinstance(refused.exception, InputError)
        assert len(files(home / "embeddings")) == 5
