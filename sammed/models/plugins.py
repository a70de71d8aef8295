"""Models that other installed packages add, by entry points of the group ``sammed.models``.

What such an entry point names is a `sammed.models.entry.ModelEntry`, or a function without
parameters that returns one or several. A package that cannot be used is left out and named in one
line: everything else works without it.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sammed.errors import SammedWarning
from sammed.models.entry import ModelEntry

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "sammed.models"
"""Group of the entry points."""


@dataclass
class PlugIns:
    """What the entry points gave.

    Attributes
    ----------
    entries
        Of models that can be built.
    refused
        Why those cannot that were left out, by the names under which they may be asked for.
    """

    entries: list[ModelEntry] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


_found: PlugIns | None = None
_lock = threading.Lock()


def load(built_in: Iterable[ModelEntry]) -> PlugIns:
    """Import what other packages add; once a process, later calls return the same.

    What cannot be used is left out with a `SammedWarning`.

    Parameters
    ----------
    built_in
        Entries whose names are taken.
    """
    global _found
    with _lock:
        if _found is None:
            _found = _load(list(built_in))
        return _found


def _load(built_in: list[ModelEntry]) -> PlugIns:
    from importlib.metadata import entry_points

    found = PlugIns()
    takers = {name: entry.package for entry in built_in for name in entry.names}
    points = sorted(entry_points(group=GROUP), key=lambda p: (_package(p), p.name))
    for point in points:
        try:
            given = list(_entries_of(point))
        except (Exception, SystemExit) as error:
            _refuse(found, point, [point.name], f"{type(error).__name__}: {error}")
            continue
        for entry in given:
            taken = [name for name in entry.names if name in takers]
            if taken:
                why = f"the name {taken[0]!r} is taken by a model of {takers[taken[0]]!r}"
                _refuse(found, point, [point.name, *entry.names], why)
                continue
            takers |= dict.fromkeys(entry.names, entry.package)
            found.entries.append(entry)
    return found


def _entries_of(point: EntryPoint) -> Iterator[ModelEntry]:
    """The entries that an entry point names.

    Raises
    ------
    TypeError
        If it names something else.
    Exception
        Whatever the package raises.
    """
    named: Any = point.load()
    given = named if isinstance(named, ModelEntry) or not callable(named) else named()
    several = (given,) if isinstance(given, ModelEntry) or not _is_listing(given) else given
    for entry in several:
        if not isinstance(entry, ModelEntry):
            raise TypeError(
                f"it gives {type(entry).__name__}; expected sammed.models.entry.ModelEntry"
            )
        yield replace(entry, package=_package(point), baseline=False)


def _is_listing(given: object) -> bool:
    return isinstance(given, Iterable) and not isinstance(given, (str, bytes))


def _refuse(found: PlugIns, point: EntryPoint, names: list[str], why: str) -> None:
    line = " ".join(
        f"the model {point.name!r} ({point.value}) of the installed package {_package(point)!r} "
        f"cannot be used: {why}; update or uninstall that package".split()
    )
    for name in names:
        found.refused.setdefault(name, line)
    warnings.warn(line, SammedWarning, stacklevel=2)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]
