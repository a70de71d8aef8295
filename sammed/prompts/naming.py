"""Objects that a model knows by their names, so that nobody has to say where they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from sammed.errors import InputError
from sammed.prompts.objects import ObjectPrompts


def named_objects(
    wanted: Collection[str] | None, structures: Mapping[str, int], *, alone: bool
) -> list[ObjectPrompts]:
    """Objects without a prompt.

    Parameters
    ----------
    wanted
        Their names.
    structures
        What the model knows: name → value.
    alone
        Whether nothing else is asked for: then no names mean all.

    Raises
    ------
    InputError
        If the model does not know one.

    Examples
    --------
    >>> named_objects(None, {"liver": 4}, alone=True)
    [ObjectPrompts('liver', label 4)]
    """
    names = list(wanted or ()) or (list(structures) if alone else [])
    for name in names:
        if name not in structures:
            known = ", ".join(structures) or "nothing"
            raise InputError(f"the model knows no object {name!r} by name; it knows {known}")
    return [ObjectPrompts(name, structures[name]) for name in names]


def with_values(
    objects: Iterable[ObjectPrompts], structures: Mapping[str, int]
) -> tuple[ObjectPrompts, ...]:
    """Objects that are called as structures are, and have no value, with the structures' values.

    Parameters
    ----------
    objects
        Any.
    structures
        Name → value.
    """
    return tuple(
        obj if obj.label else replace(obj, label=structures.get(obj.name, 0)) for obj in objects
    )
