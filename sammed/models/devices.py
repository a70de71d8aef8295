"""Where networks run: the processor, an NVIDIA GPU, or Apple's."""

from __future__ import annotations

import time
from functools import lru_cache

from sammed.errors import BackendUnavailableError, InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What ``--device`` takes."""

FASTER = 1.1
"""Fewer threads than PyTorch's own number must be this many times faster to be taken."""


def resolve_device(name: str) -> str:
    """The device that a request stands for: ``auto`` takes a GPU if there is one.

    Raises
    ------
    InputError
        If the name is none of `DEVICES`.
    BackendUnavailableError
        If the device is not there.
    """
    if name not in DEVICES:
        raise InputError(f"unknown device {name!r}; expected one of {', '.join(DEVICES)}")
    if name == "cpu":
        return name
    there = accelerators()
    if name == "auto":
        return next((device for device, found in there.items() if found), "cpu")
    if not there[name]:
        import torch

        raise BackendUnavailableError(
            f"device {name!r} is not available to PyTorch {torch.__version__} here; "
            "use '--device cpu' or install a build of PyTorch for it"
        )
    return name


def accelerators() -> dict[str, bool]:
    """Which devices beside the processor PyTorch finds here."""
    import torch

    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def set_threads(threads: int | None) -> None:
    """Let PyTorch use that many threads; ``None`` leaves its own choice.

    Raises
    ------
    InputError
        If the number is not positive.
    """
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"cannot run on {threads} threads; expected at least 1")
    import torch

    torch.set_num_threads(threads)


def threads_now() -> int:
    """How many threads PyTorch uses in this process."""
    import torch

    return torch.get_num_threads()


@lru_cache(maxsize=1)
def fastest_threads() -> int:
    """How many threads multiply matrices fastest here: PyTorch's own number, or fewer.

    Fewer are faster where a processor's cores count twice, or where a container sees more cores
    than it may use. Measured once, in some tenths of a second.
    """
    import torch

    own = count = torch.get_num_threads()
    least = _seconds(own)
    while count > 1:
        seconds = _seconds(count // 2)
        if seconds * FASTER > least:
            break
        count, least = count // 2, seconds
    torch.set_num_threads(own)
    return count


def _seconds(threads: int) -> float:
    """Shortest of three products of the size of those in ViT-B, on that many threads."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.ones(1024, 768), torch.ones(768, 3072)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - started)
    return min(times[1:])
