"""segment-anything's image encoder: as it is, and as sammed runs it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks import cases
from benchmarks.timing import by_turns, ratio
from sammed.models import registry
from sammed.models.protocols import Embedding, ViewBatch, ViewPrompt
from sammed.models.sam.backends import build_encoder
from sammed.models.sam.network import ARCHITECTURES, PATCH, PROMPT_DIM, WINDOW, Architecture

MATRIX = 4096


def gflop(architecture: Architecture, size: int = 1024) -> float:
    """Arithmetic that an encoder needs, in 1e9 multiplications and additions."""
    grid, dim = size // PATCH, architecture.dim
    tokens = grid * grid
    dense = 2 * tokens * 12 * dim * dim
    windows = (-(-grid // WINDOW)) ** 2
    in_windows = 4 * windows * WINDOW**4 * dim
    everywhere = 4 * tokens * tokens * dim
    wide = len(architecture.global_blocks)
    blocks = architecture.depth * dense + wide * everywhere
    blocks += (architecture.depth - wide) * in_windows
    ends = 2 * tokens * (3 * PATCH**2 * dim + PROMPT_DIM * dim + 9 * PROMPT_DIM**2)
    return (blocks + ends) / 1e9


def encode(
    engine: str, precision: str = "float32", name: str = "vit_b", rounds: int = 2
) -> dict[str, Any]:
    """One 1024 x 1024 image: segment-anything's forward against an engine's."""
    encoder = cases.random_network(name).image_encoder
    fast = build_encoder(encoder, engine=engine, precision=precision)
    image = torch.randn(1, 3, 1024, 1024)
    a, b = torch.randn(2, MATRIX, MATRIX)
    with torch.inference_mode():
        expected, found = encoder(image), fast(image)
        error = ((found - expected).abs().max() / expected.abs().max()).item()
        best = by_turns(
            {
                "segment_anything": lambda: encoder(image),
                "sammed": lambda: fast(image),
                "matrix": lambda: a @ b,
            },
            rounds,
            warm_up=False,
        )
    work = gflop(ARCHITECTURES[name])
    matrix = 2 * MATRIX**3 / 1e9
    return {
        **ratio(best, "segment_anything", "sammed"),
        "gflops": round(work / best["sammed"].wall, 1),
        "gflops_before": round(work / best["segment_anything"].wall, 1),
        "gflops_matrix": round(matrix / best["matrix"].wall, 1),
        "share_of_matrix": round(work / best["sammed"].wall / (matrix / best["matrix"].wall), 3),
        "share_of_matrix_cpu": round(work / best["sammed"].cpu / (matrix / best["matrix"].cpu), 3),
        "relative_error": error,
        "exact": error < 1e-4,
    }


def precision(name: str = "bfloat16", rounds: int = 2) -> dict[str, Any]:
    """The fast path at lower precision: speed, and how far embeddings and masks move."""
    sam = cases.model()
    encoder = cases.random_network().image_encoder
    exact, rounded = build_encoder(encoder), build_encoder(encoder, precision=name)
    image = torch.randn(1, 3, 1024, 1024)
    best = by_turns({"float32": lambda: exact(image), name: lambda: rounded(image)}, rounds)
    box = ViewPrompt(box=np.array([300, 200, 700, 640], np.float32))
    masks = [
        sam.decode(Embedding({"image": run(image)[0].numpy()}, (1024, 1024)), [box])[0]
        for run in (exact, rounded)
    ]
    a, b = (m.low_res_logits[0] > 0 for m in masks)
    return {
        **ratio(best, "float32", name),
        "dice": round(float(2 * (a & b).sum() / (a.sum() + b.sum())), 5),
        "relative_error": float(
            (rounded(image) - exact(image)).abs().max() / exact(image).abs().max()
        ),
    }


def decode(rounds: int = 10) -> dict[str, Any]:
    """One box on an embedded slice, in ms; segment-anything's own decoder as yardstick."""
    network, sam = cases.random_network(), cases.model()
    pixels = np.random.default_rng(0).random((1, 1, 1024, 1024), np.float32)
    (embedding,) = sam.encode(ViewBatch(pixels))
    box = ViewPrompt(box=np.array([300, 200, 700, 640], np.float32))
    image = torch.from_numpy(embedding.arrays["image"])[None]
    corners = torch.tensor([[200.0, 300, 640, 700]])
    found: dict[str, Any] = {}

    def theirs() -> None:
        sparse, dense = network.prompt_encoder(points=None, boxes=corners, masks=None)
        places = network.prompt_encoder.get_dense_pe()
        found["theirs"] = network.mask_decoder.predict_masks(image, places, sparse, dense)

    def ours() -> None:
        (found["ours"],) = sam.decode(embedding, [box])

    with torch.inference_mode():
        best = by_turns({"segment_anything": theirs, "sammed": ours}, rounds)
    logits = found["theirs"][0][0].numpy()
    error = float(np.abs(logits - found["ours"].low_res_logits).max())
    return {
        "ratio": round(1000 * best["sammed"].wall, 1),
        "cpu_ms": round(1000 * best["sammed"].cpu, 1),
        "times": ratio(best, "segment_anything", "sammed"),
        "largest_logit": float(np.abs(logits).max()),
        "largest_error": error,
        "exact": error < 1e-4,
    }


def compact_view(rounds: int = 20) -> dict[str, Any]:
    """The built-in network on one view on one thread, in ms; ViT-B's encode as yardstick."""
    own = torch.get_num_threads()
    torch.set_num_threads(1)
    model = registry.build("compact")
    side = model.spec.view_size
    rng = np.random.default_rng(0)
    around = rng.random((1, 2 * model.spec.context, side, side), np.float32)
    views = ViewBatch(rng.random((1, 1, side, side), np.float32), around)
    box = ViewPrompt(box=np.array([0.2, 0.25, 0.8, 0.75], np.float32) * side)
    fast = build_encoder(cases.random_network().image_encoder)
    image = torch.randn(1, 3, 1024, 1024)
    best = by_turns({"view": lambda: model.decode(model.encode(views)[0], [box])}, rounds)
    sam = by_turns({"vit_b": lambda: fast(image)}, 1, warm_up=False)
    torch.set_num_threads(own)
    return {
        "ratio": round(1000 * best["view"].wall, 2),
        "vit_b_encode_s": round(sam["vit_b"].wall, 2),
        "vit_b_over_view": round(sam["vit_b"].wall / best["view"].wall),
        "note": f"encode and decode; ViT-B's encode on one thread takes {sam['vit_b'].wall:.1f} s "
        "in the same run",
    }
