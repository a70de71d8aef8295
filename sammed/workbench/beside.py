"""Other scans beside the one on the table: labelled ones to take from, and phases to look at.

A page names entries of a list, never a path: what the command line gave, what was labelled here
before, and what is dropped.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sammed import io
from sammed.errors import InputError, SammedError
from sammed.imaging.boxes import Box3D
from sammed.imaging.intensity import resolve_window
from sammed.imaging.volume import Volume
from sammed.io.recognition import stem
from sammed.workbench import recent
from sammed.workbench.opening import sources_among
from sammed.workbench.scan import Shown, presets, shown_as
from sammed.worker.messages import RequestError

if TYPE_CHECKING:
    from sammed.examples.library import Example
    from sammed.workbench.opening import Source
    from sammed.workbench.wishes import Wishes

MOST_PHASES = 8
"""Beside each other; more cannot be told apart on a screen."""

MOST_VALUES = 1024
"""A label map has no more values than this."""

THEN = "then"
"""What the earlier scan of a follow-up is called as a phase."""


@dataclass(frozen=True)
class Offer:
    """Labelled scans that can be taken from.

    Attributes
    ----------
    given
        As `sammed.examples.asking.gathered` takes it.
    name, where
        For people.
    kind
        ``"example"``, ``"folder"`` or ``"prior"``: what it was given as.
    asked
        Whether the command line names it.
    """

    given: Any
    name: str
    where: str
    kind: str = "example"
    asked: bool = False

    @property
    def one(self) -> Example:
        """The one labelled scan that it is.

        Raises
        ------
        InputError
            If it is several.
        """
        from sammed.examples.asking import gathered

        examples, _ = gathered(self.given)
        if len(examples) != 1:
            raise InputError(
                f"{self.name} holds {len(examples)} labelled scans; expected one, the earlier scan "
                "of the same person with its label map"
            )
        return examples[0]


@dataclass(frozen=True, eq=False)
class Phase:
    """Another scan of the same person, on the grid of the one on the table.

    Attributes
    ----------
    name
        Of the phase.
    volume, shown
        Its voxels, and how the page gets them.
    about
        What the page is told of it.
    """

    name: str
    volume: Volume
    shown: Shown
    about: dict[str, Any]


@dataclass(eq=False)
class Beside:
    """What lies beside one scan.

    Attributes
    ----------
    offers
        Id → labelled scans.
    phases
        Name → phase, in the order in which they are shown.
    name
        What the scan itself is called among the phases.
    then
        Lesion → its block and mask in an earlier scan, on this one's grid.
    """

    offers: dict[str, Offer] = field(default_factory=dict)
    phases: dict[str, Phase] = field(default_factory=dict)
    name: str = ""
    then: dict[str, tuple[Box3D, NDArray[np.bool_]]] = field(default_factory=dict)

    def offer(self, offers: list[Offer]) -> list[dict[str, Any]]:
        """Put labelled scans on the list; what the page is told of them."""
        told = []
        for one in offers:
            key = f"labelled-{secrets.token_hex(4)}"
            self.offers[key] = one
            told.append(_told(key, one))
        return told

    def listed(self, own: Path) -> list[dict[str, Any]]:
        """All that there is to take from.

        Parameters
        ----------
        own
            The scan on the table: nothing is taken from itself.
        """
        known = {(one.name, one.where) for one in self.offers.values()}
        self.offer([one for one in labelled_before(own) if (one.name, one.where) not in known])
        return [_told(key, one) for key, one in self.offers.items()]

    def chosen(self, key: str) -> Offer:
        """An entry of the list.

        Raises
        ------
        RequestError
            ``bad_request`` if there is none of that id.
        """
        if key not in self.offers:
            raise RequestError("bad_request", f"there is no labelled scan that is called {key!r}")
        return self.offers[key]

    def add_phase(self, volume: Volume, name: str, said: str) -> Phase:
        """Put a phase beside the scan; one of that name gives way.

        Parameters
        ----------
        volume
            On the scan's grid.
        name
            Of the phase.
        said
            How it was aligned.

        Raises
        ------
        InputError
            If there are too many.
        """
        if name == self.name or (name not in self.phases and len(self.phases) >= MOST_PHASES):
            raise InputError(
                f"a phase {name!r} is there already"
                if name == self.name
                else f"there are {MOST_PHASES} phases already; take one away first"
            )
        self.phases[name] = phase = _phase(volume, name, said)
        return phase

    @property
    def told_phases(self) -> list[dict[str, Any]]:
        """What the page is told of the phases."""
        return [phase.about for phase in self.phases.values()]


def asked_for(wishes: Wishes) -> list[Offer]:
    """The labelled scans that the command line names.

    Raises
    ------
    SammedError
        If one of them is no pair, or not there.
    """
    from sammed.examples.library import pair

    offers = [_pair_offer(pair(text)) for text in wishes.examples]
    if wishes.library is not None:
        folder = wishes.library.absolute()
        offers.append(Offer(str(folder), folder.name, str(folder.parent), "folder"))
    if wishes.prior:
        offers.append(_pair_offer(pair(wishes.prior), "prior"))
    return [replace(one, asked=True) for one in offers]


def labelled_before(own: Path) -> list[Offer]:
    """Scans that were opened here before and have a label map beside them."""
    from sammed.examples.library import Example

    found = []
    for entry in recent.recent():
        path = Path(entry.path)
        labels = path.with_name(f"{stem(path)}.labels.nii.gz")
        if entry.series or entry.frame is not None or path == own.absolute():
            continue
        if path.is_file() and labels.is_file():
            found.append(_pair_offer(Example(stem(path), path, labels, stem(path))))
    return found


def _pair_offer(example: Example, kind: str = "example") -> Offer:
    image, labels = Path(str(example.image)), Path(str(example.labels))
    return Offer([example], f"{image.name} + {labels.name}", str(image.absolute().parent), kind)


def labelled_among(folder: Path) -> list[Offer]:
    """What labelled scans a drop holds: a scan with its label map, or a folder of such.

    Raises
    ------
    InputError
        If there is none, with what was found and what is expected.
    """
    from sammed.examples.library import Example
    from sammed.examples.library import folder as library

    inside = _only_folder(folder)
    try:
        examples = library(inside)
    except InputError:
        examples = []
    if not examples:
        files = [source.path for source in sources_among(folder)]
        if len(files) != 2:
            names = ", ".join(sorted(path.name for path in files)[:4])
            raise InputError(
                f"found {names}; expected a scan and its label map, two files, or a folder of "
                "scans with label maps beside them (a.nii.gz, a_labels.nii.gz)"
            )
        image, labels = _told_apart(files[0], files[1])
        examples = [Example(stem(image), image, labels, stem(image))]
    if len(examples) == 1:
        return [Offer(examples, _pair_name(examples[0]), "dropped here")]
    return [Offer(str(inside), f"{inside.name}: {len(examples)} scans", "dropped here", "folder")]


def _only_folder(folder: Path) -> Path:
    inside = list(folder.iterdir()) if folder.is_dir() else []
    return _only_folder(inside[0]) if len(inside) == 1 and inside[0].is_dir() else folder


def _pair_name(example: Example) -> str:
    return " + ".join(Path(str(path)).name for path in (example.image, example.labels))


def _told_apart(one: Path, two: Path) -> tuple[Path, Path]:
    """Which of two files is the scan, and which its label map."""
    look = [_looks_like_labels(path) for path in (one, two)]
    if look[0] == look[1]:
        what = "both look like label maps" if look[0] else "neither looks like a label map"
        raise InputError(
            f"{one.name} and {two.name}: {what}; expected a scan and its label map (whole numbers "
            f"from 0, at most {MOST_VALUES} of them)"
        )
    return (two, one) if look[0] else (one, two)


def _looks_like_labels(path: Path) -> bool:
    """Whether an image holds few whole numbers from 0, most of them 0."""
    try:
        voxels = io.read(path).voxels
    except SammedError:
        return True  # a segmentation of its own format, which is no image
    if voxels.ndim != 3 or voxels.min() < 0:
        return False
    values = np.unique(voxels)
    whole = bool(np.all(values == np.rint(values)))
    return whole and len(values) <= MOST_VALUES and float(np.mean(voxels == 0)) > 0.5


def _told(key: str, one: Offer) -> dict[str, Any]:
    return {"id": key, "name": one.name, "where": one.where, "kind": one.kind}


def _phase(volume: Volume, name: str, said: str) -> Phase:
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    shown = shown_as(volume, (low, high))
    chosen = resolve_window("auto", volume)
    about = {
        "id": secrets.token_hex(4),
        "name": name,
        "said": said,
        "range": [low, high],
        "window": [chosen.low, chosen.high],
        "presets": presets(volume),
        "shown": {
            "dtype": shown.dtype.str,
            "shape": list(shown.shape),
            "step": list(shown.step),
            "note": shown.note or None,
        },
    }
    return Phase(name, volume, shown, about)


def phase_source(folder: Path) -> Source:
    """The one scan of a drop.

    Raises
    ------
    InputError
        If it is several.
    """
    sources = sources_among(folder)
    if len(sources) != 1:
        raise InputError(f"{len(sources)} scans came; expected one, a file or a folder of DICOM")
    return sources[0]
