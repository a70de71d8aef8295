"""Keeping embeddings: which container, and what half precision does to masks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cases
from benchmarks.timing import by_turns
from sammed.imaging.intensity import resolve_window
from sammed.models.protocols import Embedding, ViewBatch, ViewPrompt
from sammed.views.embedding_files import EmbeddingFolder
from sammed.views.slices import SliceStack, View

VIEWS = 20


def container() -> dict[str, Any]:
    """Writing and reading one view: a zarr chunk against a safetensors file with checksum."""
    import zarr

    rng = np.random.default_rng(0)
    array = rng.standard_normal((256, 64, 64)).astype(np.float16)
    embedding = Embedding({"image": array}, (1024, 1024))
    with tempfile.TemporaryDirectory() as name:
        ours = EmbeddingFolder(Path(name, "ours"), 1 << 40)
        group = zarr.open_group(Path(name, "zarr"), mode="w")
        for i in range(VIEWS):  # zarr makes an array's metadata once; do not time that
            group.create_array(str(i), shape=array.shape, chunks=array.shape, dtype=array.dtype)

        def write_zarr() -> None:
            for i in range(VIEWS):
                group[str(i)][...] = array  # type: ignore[index]

        def read_zarr() -> None:
            for i in range(VIEWS):
                group[str(i)][...]  # type: ignore[index]

        best = by_turns(
            {
                "zarr_write": write_zarr,
                "file_write": lambda: [ours.write(f"m/v/{i}", embedding) for i in range(VIEWS)],
                "zarr_read": read_zarr,
                "file_read": lambda: [ours.read(f"m/v/{i}") for i in range(VIEWS)],
            }
        )
        kept = ours.read("m/v/0")
        zarr_bytes = sum(p.stat().st_size for p in Path(name, "zarr").rglob("*") if p.is_file())
        file_bytes = ours.nbytes()
    same = kept is not None and np.array_equal(kept.arrays["image"], array)
    milliseconds = {f"{k}_ms": round(1000 * v.wall / VIEWS, 2) for k, v in best.items()}
    return {
        "ratio": round(best["zarr_write"].wall / best["file_write"].wall, 2),
        "ratio_read": round(best["zarr_read"].wall / best["file_read"].wall, 2),
        **milliseconds,
        "zarr_mb": round(zarr_bytes / VIEWS / 1e6, 3),
        "file_mb": round(file_bytes / VIEWS / 1e6, 3),
        "exact": same,
    }


def half_precision(slices: int = 4) -> dict[str, Any]:
    """Masks of embeddings rounded to float16 against exact ones."""
    sam = cases.model()
    scan = cases.volume(slices)
    stack = SliceStack(scan, "axial", resolve_window(cases.WINDOW, scan))
    dice, moved = [], []
    for z in range(slices):
        view = View.whole(z, stack.shape, sam.spec.view_size)
        embedding = sam.encode(ViewBatch(view.render(stack.image(z), eight_bit=True)[None]))[0]
        rounded = Embedding(
            {k: a.astype(np.float16) for k, a in embedding.arrays.items()}, embedding.extent
        )
        prompts = [ViewPrompt(box=view.box(cases.boxes(n, slices)[z])) for n in range(5)]
        region = view.slice_region(stack.shape)
        pairs = zip(sam.decode(embedding, prompts), sam.decode(rounded, prompts), strict=True)
        for exact, half in pairs:
            a, b = (view.to_slice(m.low_res_logits[0], region) > 0 for m in (exact, half))
            dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
            moved.append(abs(exact.low_res_logits - half.low_res_logits).max())
    return {
        "ratio": round(float(np.min(dice)), 6),
        "masks": len(dice),
        "dice_mean": round(float(np.mean(dice)), 6),
        "largest_change_of_a_logit": float(np.max(moved)),
    }
