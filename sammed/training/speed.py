"""How fast compact answers and learns on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from sammed.models.compact.model import CompactModel
from sammed.models.compact.net import PLANES, Architecture, CompactNet
from sammed.models.protocols import ViewBatch, ViewPrompt
from sammed.training.losses import compact_loss
from sammed.training.trainer import has_bfloat16


def operations(architecture: Architecture) -> float:
    """Multiplications and additions of one forward pass, in units of 1e9."""
    total = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        del inputs
        if isinstance(module, nn.Conv2d):
            total += 2.0 * module.weight[0].numel() * output.numel()

    net = CompactNet(architecture).eval()
    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        net(torch.zeros(1, PLANES, architecture.view, architecture.view))
    for hook in hooks:
        hook.remove()
    return total / 1e9


def best_time(action: Callable[[], object], repeats: int) -> float:
    """Shortest of several runs after three to warm up, in s."""
    for _ in range(3):
        action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_peak(kind: torch.dtype) -> float:
    """What a large matrix product reaches, in GFLOP/s."""
    n = 2048
    a, b = torch.randn(n, n).to(kind), torch.randn(n, n).to(kind)
    return 2 * n**3 / best_time(lambda: a @ b, 8) / 1e9


def training_step(architecture: Architecture, batch: int, half: bool) -> Callable[[], None]:
    """A step of training on random numbers, without the making of data."""
    net = CompactNet(architecture).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    side = architecture.view
    planes = torch.randn(batch, PLANES, side, side).to(memory_format=torch.channels_last)
    target = (torch.rand(batch, side, side) > 0.5).float()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits, iou, present = net(planes)
        loss, _ = compact_loss(logits.float(), iou.float(), present.float(), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def measure_speed(threads: int = 1, batch: int = 8) -> dict[str, str]:
    """What was measured, in words, and its value with its unit.

    Parameters
    ----------
    threads
        Of the processor.
    batch
        Views in a training step.
    """
    torch.set_num_threads(threads)
    architecture = Architecture()
    side = architecture.view
    model = CompactModel()
    rng = np.random.default_rng(0)
    views = ViewBatch(rng.random((1, 1, side, side), np.float32))
    box = np.array((side / 6, side / 6, side * 5 / 6, side * 5 / 6), np.float32)
    answer = best_time(lambda: model.decode(model.encode(views)[0], [ViewPrompt(box=box)]), 30)
    half = has_bfloat16()
    step = best_time(training_step(architecture, batch, half), 10)
    work = operations(architecture)
    reached = 3 * work * batch / step
    peak = matrix_peak(torch.bfloat16 if half else torch.float32)
    parameters = sum(p.numel() for p in CompactNet(architecture).parameters())
    return {
        "parameters": f"{parameters / 1e6:.2f} M",
        "one forward pass": f"{work:.2f} GFLOP",
        "encode + decode, one view, one object, float32": f"{answer * 1000:.1f} ms",
        f"training, batch {batch}, {'bfloat16' if half else 'float32'}": (
            f"{batch / step:.0f} views/s, {reached:.0f} GFLOP/s"
        ),
        "matrix product, the same type": f"{peak:.0f} GFLOP/s",
        "share of the matrix peak": f"{100 * reached / peak:.0f} %",
        "threads": str(threads),
    }
