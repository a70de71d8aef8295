"""Examples as they are asked for, by people and programs, as a model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from sammed.examples.library import Example, folder, of_arrays, pair
from sammed.examples.model import ExampleModel, Taking
from sammed.io.meaning import meant
from sammed.io.terminology import other_side
from sammed.models.protocols import Model


def gathered(given: Any) -> tuple[list[Example], bool]:
    """Examples, however they are given.

    Parameters
    ----------
    given
        A folder or manifest (`sammed.examples.library.folder`); pairs ``(image, labels)`` of files
        or of what was read from them; pairs as they are typed, ``"a.nii.gz,a_labels.nii.gz#3"``;
        or examples.

    Returns
    -------
    examples
        At least one.
    chosen
        Whether they were named one by one.

    Raises
    ------
    InputError
        If there is none, or one cannot be understood.
    """
    if isinstance(given, str | PathLike):
        path = Path(given)
        if "," not in str(given) or path.exists():
            return folder(path), False
        return [pair(str(given))], True
    found: list[Example] = []
    chosen = True
    for one in given:
        if isinstance(one, Example):
            found.append(one)
        elif isinstance(one, str | PathLike):
            more, named = gathered(one)
            found += more
            chosen = chosen and named
        else:
            found += of_arrays([one], len(found) + 1)
    return found, chosen


def example_model(
    given: Any,
    companion: Model,
    objects: Iterable[str] | None = None,
    labels: Mapping[str, int] | None = None,
    taking: Taking | None = None,
    chosen: bool | None = None,
) -> ExampleModel:
    """A model that finds what examples show.

    Parameters
    ----------
    given
        See `gathered`.
    companion
        Answers prompts, and joins its own look.
    objects
        What is wanted, by name, synonym or code; by default all that is labelled.
    labels
        Values of objects in the result, and of labels without a name in the examples.
    taking
        How.
    chosen
        As of `Taking`; by default it follows from ``given``.

    Raises
    ------
    InputError
        If no example shows what is wanted.
    """
    examples, named = gathered(given)
    taking = replace(taking or Taking(), chosen=named if chosen is None else chosen)
    asked = {name: (labels or {}).get(name, 0) for name in objects or ()}
    shown = _shown(examples, asked, taking.mirror)
    known = {*shown, *companion.spec.structures}
    wanted: dict[str, int] = {}
    for name, value in asked.items():
        for one in meant(name, known, "in the examples"):
            wanted[one] = value or (labels or {}).get(one, 0)
    return ExampleModel(examples, companion, wanted, taking)


def _shown(examples: Collection[Example], asked: Mapping[str, int], mirror: bool) -> set[str]:
    shown = {name for one in examples for name in one.values(asked)}
    return shown | {other_side(name) for name in shown} if mirror else shown
