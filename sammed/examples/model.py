"""Labelled examples as a model: what they show is found by its name, all else by a companion.

So sessions, the command line, the worker and the evaluation know examples as they know what a
learned model was taught: an object without a prompt. Clicks mend it, and what is missing is said.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sammed.errors import Cancelled, InputError
from sammed.examples.carrying import Carried, Target, bend, carry, same_units
from sammed.examples.keeping import Kept, content, rounded
from sammed.examples.library import Example, in_units
from sammed.examples.look import joined, logit
from sammed.examples.mirror import mirrored
from sammed.examples.ranking import AFFINE_OF, MOST, Ranked, rank
from sammed.examples.shown import Shown
from sammed.examples.voting import Vote, apart, vote
from sammed.imaging import registration as reg
from sammed.imaging.boxes import Box3D
from sammed.imaging.volume import Volume
from sammed.models.protocols import (
    ImageModel,
    Model,
    ModelSpec,
    StructureModel,
    VolumeImage,
    VolumeMask,
    Watch,
)
from sammed.models.recipe import PLAIN

KNOWN_MODALITIES = {"CT", "MR", "PT", "US"}


@dataclass(frozen=True)
class Taking:
    """How examples are used.

    Attributes
    ----------
    most
        So many examples at most, those that are most alike.
    mirror
        Whether an object of the other side may be taken, in a mirror.
    look
        Whether the companion's own look is joined, where there is an edge.
    threads
        Examples that are laid on at a time; 0: as many as there are cores, up to 4.
    keep
        Whether results are kept between runs.
    chosen
        Whether the examples were chosen one by one: then one that does not fit is an error; of a
        library it is left out with a note.
    """

    most: int = MOST
    mirror: bool = False
    look: bool = True
    threads: int = 0
    keep: bool = True
    chosen: bool = True


@dataclass(eq=False)
class Account:
    """What became of the examples on a scan, for the report."""

    examples: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class ExampleModel(Shown):
    """Finds what labelled examples show.

    Parameters
    ----------
    examples
        Labelled scans.
    companion
        The model for prompts; what a learned one knows by name is found by it where no example
        shows it.
    wanted
        Names of the objects to find, with values that were given for them (0: none); by default all
        that is labelled.
    taking
        How.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        companion: Model,
        wanted: Mapping[str, int] | None = None,
        taking: Taking | None = None,
    ) -> None:
        if not examples:
            raise InputError("there is no example; expected at least one labelled scan")
        self.taking = taking or Taking()
        self.account = Account()
        self._wanted = dict(wanted or {})
        self._examples = [*examples, *(map(mirrored, examples) if self.taking.mirror else ())]
        self._values = {id(one): one.values(self._wanted) for one in self._examples}
        shown = self._shown()
        theirs = dict(companion.spec.structures)
        spec = ModelSpec(
            name="examples",
            prompts=frozenset({"box", "points", "mask", "box3d"}),
            weights_hash=self._digest(),
            license="as the examples",
            recipe=PLAIN,
            structures={**{n: v for n, v in theirs.items() if n not in shown}, **shown},
        )
        super().__init__(spec, companion)

    def _found(self, image: VolumeImage, reporter: Watch) -> dict[str, VolumeMask]:
        """What the examples show, and of what they do not what the companion knows by name."""
        found = self._explained(image, reporter)
        missing = set(self._spec.structures) - set(found)
        if missing and isinstance(self._companion, StructureModel):
            theirs = self._companion.find(image, reporter=reporter)
            found |= {name: theirs[name] for name in missing}
        return found

    @property
    def asked(self) -> list[str]:
        """Names of what is wanted; where nothing was said, of all that is labelled."""
        return list(self._wanted) or [n for n in self._spec.structures if self._is_shown(n)]

    def _shown(self) -> dict[str, int]:
        """Name → value of what is wanted and labelled; values of several examples may clash."""
        shown: dict[str, int] = {}
        for values in self._values.values():
            for name, value in values.items():
                if self._wanted and name not in self._wanted:
                    continue
                if name not in shown:
                    free = value if value not in shown.values() else max(shown.values()) + 1
                    shown[name] = self._wanted.get(name) or free
        return shown

    def _digest(self) -> str:
        parts = [f"{one.id} {sorted(self._values[id(one)].items())}" for one in self._examples]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _explained(self, image: VolumeImage, reporter: Watch) -> dict[str, VolumeMask]:
        started = time.perf_counter()
        self.account = account = Account()
        names = [n for n in self._spec.structures if self._is_shown(n)]
        target = Target.of(in_units(image.volume))
        fit = self._fit(target.volume)
        most = self._most(len(fit))
        steps = Steps(reporter, min(len(fit), AFFINE_OF) + most * (1 + len(names)) + len(names))
        ranked = rank(target, fit, most, reporter.check, steps.done)
        ranked = self._not_flipped(target, ranked)
        carried = self._carried(target, ranked, reporter, steps)
        votes = {name: v for name in names if (v := self._vote(name, ranked, carried, target))}
        there = {name: v for name, v in votes.items() if not v.missing}
        chances = apart(there, image.volume.shape)
        found: dict[str, VolumeMask] = {}
        for name in names:
            found[name] = self._answer(name, votes.get(name), chances, target, image, reporter)
            steps.done()
        account.seconds = round(time.perf_counter() - started, 2)
        return found

    def _is_shown(self, name: str) -> bool:
        return any(name in values for values in self._values.values())

    def _most(self, count: int) -> int:
        return max(1, min(self.taking.most, count))

    def _fit(self, volume: Volume) -> list[Example]:
        """Examples that may be compared with the scan: not itself, of its kind, of its axes."""
        fit, said = [], ""
        for one in self._examples:
            if not any(name in self._spec.structures for name in self._values[id(one)]):
                continue
            try:
                check_fit(volume, one)
            except InputError as error:
                said = str(error)
                if self.taking.chosen:
                    raise
                self.account.notes.append(f"left out: {error}")
                continue
            fit.append(one)
        if not fit:
            raise InputError(said or "no example shows what is wanted")
        return fit

    def _not_flipped(self, target: Target, ranked: list[Ranked]) -> list[Ranked]:
        kept, said = [], ""
        for one in ranked:
            turned = one.example.turned  # on purpose: a body is not as its mirror image
            flipped = "" if turned else reg.flipped_axes(target.grey, reg.grey(one.example.read[0]))
            if not flipped:
                kept.append(one)
                continue
            said = (
                f"example {one.example.id}: {flipped} seem exchanged against "
                f"{reg.name_of(target.volume)}; check its orientation"
            )
            if self.taking.chosen:
                raise InputError(f"{said}, or take objects of the other side with --mirror")
            self.account.notes.append(f"left out: {said}")
        if not kept:
            raise InputError(said)
        return kept

    def _carried(
        self, target: Target, ranked: Sequence[Ranked], reporter: Watch, steps: Steps
    ) -> list[dict[str, Carried]]:
        """What each example shows, on the scan; some at a time."""
        stop = threading.Event()

        def check() -> None:
            if stop.is_set():
                raise Cancelled("stopped; nothing was changed")
            reporter.check()

        def one(item: Ranked) -> dict[str, Carried]:
            began = time.perf_counter()
            found, kept = self._one(target, item, check, steps.done)
            self.account.examples.append(
                {
                    "example": item.example.id,
                    "similarity": round(item.laid.similarity, 4),
                    "kept_from_before": kept,
                    "seconds": round(time.perf_counter() - began, 2),
                }
            )
            return found

        threads = self.taking.threads or min(4, os.cpu_count() or 1)
        if threads == 1 or len(ranked) == 1:
            return [one(item) for item in ranked]
        with ThreadPoolExecutor(threads) as pool:
            try:
                found = list(pool.map(one, ranked))
            except BaseException:
                stop.set()  # else leaving the pool would wait for all of them
                raise
        self.account.examples.sort(key=lambda line: -float(line["similarity"]))
        return found

    def _one(
        self, target: Target, item: Ranked, check: Callable[[], None], done: Callable[[], None]
    ) -> tuple[dict[str, Carried], bool]:
        volume, labels = item.example.read
        values = self._values[id(item.example)]
        wanted = {name: v for name, v in values.items() if name in self._spec.structures}
        store = Kept() if self.taking.keep else None
        key = {
            "target": content(target.volume), "modality": target.volume.modality,
            "example": content(volume), "labels": content(labels), "values": wanted,
        }  # fmt: skip
        if store is not None and (kept := store.load(key)) is not None:
            return kept, True
        whole = bend(target, volume, item.laid, check)
        done()
        found = carry(target, volume, labels, wanted, whole, check, done)
        found = {name: rounded(one) for name, one in found.items()}
        if store is not None:
            store.save(key, found)
        return found, False

    def _vote(
        self,
        name: str,
        ranked: Sequence[Ranked],
        carried: Sequence[Mapping[str, Carried]],
        target: Target,
    ) -> Vote | None:
        having = [(r, c[name]) for r, c in zip(ranked, carried, strict=True) if name in c]
        if not having:
            return None
        units = [same_units(target.volume, r.example.read[0]) for r, _ in having]
        return vote([one for _, one in having], units)

    def _answer(
        self,
        name: str,
        found: Vote | None,
        chances: Mapping[str, Any],
        target: Target,
        image: VolumeImage,
        reporter: Watch,
    ) -> VolumeMask:
        line: dict[str, Any] = {}
        self.account.objects[name] = line
        if found is None:
            line["missing"] = "no example that was taken has it"
            return missing(line["missing"])
        line |= {
            "agreement": None if found.agreement is None else round(found.agreement, 4),
            "likeness": round(found.likeness, 4),
            "examples": found.used,
            "missing": found.missing or None,
        }
        if found.missing:
            return missing(found.missing)
        chance = chances[name]
        companion = self.prompted(name)
        if not self.taking.look or not isinstance(companion, ImageModel):
            return VolumeMask(found.block, _half(logit(chance)), found.sureness)
        both = joined(
            target.volume, name, found.block, chance, found.sureness, target.values, companion,
            image.window, reporter.check,
        )  # fmt: skip
        line["model"] = both.said
        return VolumeMask(found.block, _half(both.logits), found.sureness)


class Steps:
    """Counts what is done, from several threads, and tells.

    Parameters
    ----------
    reporter
        Is told.
    total
        How many steps there may be; what was kept from before, or is missing, takes none.
    """

    def __init__(self, reporter: Watch, total: int) -> None:
        self._reporter, self._total, self._done = reporter, total, 0
        self._lock = threading.Lock()

    def done(self) -> None:
        """One more."""
        with self._lock:
            self._done = min(self._done + 1, self._total)
            self._reporter.advance(self._done, self._total)


def missing(reason: str) -> VolumeMask:
    """The answer of an object that is not there, and why."""
    nothing = np.zeros((0, 0, 0), np.float16)
    return VolumeMask(Box3D(0, 0, 0, 0, 0, 0), nothing, 0.0, reason)


def _half(logits: Any) -> Any:
    return np.asarray(logits, np.float16)


def check_fit(volume: Volume, example: Example) -> None:
    """Refuse what cannot be compared.

    Raises
    ------
    InputError
        If it is the scan itself, another kind of image, or a slice beside a volume.
    """
    other = example.read[0]
    kinds = {volume.modality, other.modality}
    if len(kinds) == 2 and kinds <= KNOWN_MODALITIES:
        raise InputError(
            f"example {example.id} is {other.modality} and {reg.name_of(volume)} is "
            f"{volume.modality}; expected the same kind of image"
        )
    try:
        reg.check_not_itself(volume, other)
        reg.check_pair(reg.grey(volume), reg.grey(other))
    except InputError as error:
        raise InputError(f"example {example.id}: {error}") from None
