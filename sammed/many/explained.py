"""Labelled examples that explain many scans: named once, read once a worker, told by content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.errors import InputError
from sammed.examples.asking import example_model, gathered
from sammed.examples.library import Example
from sammed.examples.model import ExampleModel, Taking
from sammed.many.content import fingerprint, look
from sammed.many.memory import unpacked
from sammed.models.protocols import Model


@dataclass(frozen=True)
class Explaining:
    """Which examples, and how they are used; small, since it travels to the workers.

    Attributes
    ----------
    given
        Pairs ``IMAGE,LABELS`` and folders, with whole paths.
    mirror
        Whether what is on the other side counts as well.
    mark
        Hash of what the examples hold and of how they are used.
    bytes
        That they take in a worker's memory.
    """

    given: tuple[str, ...]
    mirror: bool
    mark: str
    bytes: int

    def examples(self) -> list[Example]:
        """All of them; each is read when it is first needed, and then kept."""
        return gathered(self.given)[0]

    def model(
        self,
        examples: Sequence[Example],
        companion: Model,
        objects: Sequence[str],
        threads: int | None,
    ) -> ExampleModel:
        """What they make of a model, for one scan.

        An example that does not fit a scan, such as the scan itself, is left out with a note.
        """
        taking = Taking(mirror=self.mirror, threads=threads or 0)
        return example_model(examples, companion, list(objects) or None, None, taking, chosen=False)


def explaining(given: Sequence[str | Path], mirror: bool = False) -> Explaining | None:
    """Examples as they are asked for; ``None`` if there are none.

    Parameters
    ----------
    given
        Pairs ``IMAGE,LABELS[#VALUE]``, and folders or manifests of examples.
    mirror
        See `Explaining`.

    Raises
    ------
    InputError
        If one cannot be understood, or is not there.
    """
    if not given:
        if mirror:
            raise InputError("--mirror is about examples; give --example or --examples")
        return None
    whole = tuple(_whole(text) for text in given)
    examples, _ = gathered(whole)
    told: list[Any] = []
    size = 0
    for one in examples:
        image, labels = Path(str(one.image)), Path(str(one.labels))
        held = [look(path)["sha256"] for path in (image, labels)]
        told.append([*held, dict(one.names), one.only, one.modality, one.series])
        size += unpacked(image) + unpacked(labels)
    return Explaining(whole, mirror, fingerprint("examples", told, mirror), size)


def _whole(given: str | Path) -> str:
    """A pair or a folder with whole paths: workers may stand elsewhere."""
    text = str(given)
    if "," not in text or Path(text).exists():
        return str(Path(text).absolute())
    image, _, labels = text.rpartition(",")
    return f"{Path(image).absolute()},{Path(labels).absolute()}"
