"""Where networks run: the processor, an NVIDIA GPU, or Apple's."""

from __future__ import annotations

from sammed.errors import BackendUnavailableError, InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What ``--device`` takes."""


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
