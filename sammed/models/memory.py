"""Whether there is memory for a model: asked before it is built, not when it is too late."""

from __future__ import annotations

import os
from pathlib import Path

from sammed.errors import ModelError

IGNORE_VARIABLE = "SAMMED_IGNORE_MEMORY"
"""Environment variable that lets models be built for which memory seems too short."""

_STATE = Path("/proc/meminfo")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"))


def check_memory(name: str, needed: int) -> None:
    """Make sure that there is memory for a model.

    Parameters
    ----------
    name
        Of the model.
    needed
        Bytes, an estimate; 0 asks for none.

    Raises
    ------
    ModelError
        If less is free, and ``SAMMED_IGNORE_MEMORY`` does not say to try all the same.
    """
    free = free_memory() if needed else None
    if free is None or free >= needed or os.environ.get(IGNORE_VARIABLE):
        return
    raise ModelError(
        f"no memory for model {name!r}: it takes about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB "
        f"are free; close other programs, choose a smaller model, or try all the same with "
        f"{IGNORE_VARIABLE}=1"
    )


def free_memory() -> int | None:
    """Bytes that a program can still take without the system swapping; ``None`` if it won't say.

    In a container that is limited, what is left of its limit.
    """
    try:
        lines = dict(line.split(":", 1) for line in _STATE.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        most, taken = (int(path.read_text()) for path in _LIMITS)
    except (OSError, ValueError):  # "max" is no limit
        return free
    return min(free, max(most - taken, 0))
