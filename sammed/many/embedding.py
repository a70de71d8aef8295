"""Encode the slices of one scan ahead, or of many, so that segmenting them is quick."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sammed import folders, io
from sammed.engine.decoding import SliceDecoder
from sammed.engine.settings import Settings
from sammed.errors import InputError
from sammed.imaging.intensity import Window, check_window
from sammed.io.recognition import longest_ending
from sammed.many.content import fingerprint
from sammed.many.crew import Crew, Tell
from sammed.many.manifest import Scan, read_scans
from sammed.many.projects import is_project
from sammed.many.runner import Told, run_many
from sammed.many.task import Entry, Outcome, Task, Watch
from sammed.models import registry
from sammed.models.protocols import ImageModel
from sammed.project.sources import ENDINGS, holds_dicom
from sammed.session import Session
from sammed.version import __version__
from sammed.views.embedding_files import EmbeddingFolder
from sammed.views.embeddings import DEFAULT_DISK_BYTES, EmbeddingStore
from sammed.views.slices import PLANES, SliceStack, View, choose_plane

MEMORY_BYTES = 64 << 20
"""What is kept in memory meanwhile; the disk is what counts."""

FULL = 0.85
"""Fuller than this, the folder of embeddings has perhaps been cleared of old ones already."""


@dataclass(frozen=True)
class Encoding:
    """How scans are encoded.

    Attributes
    ----------
    model
        A segment-anything model, or a checkpoint file.
    window, plane
        As ``sammed segment`` will be asked for; the plane may be ``"all"``.
    slices
        ``A:B``: only these of the plane.
    options
        Of the model: device, threads, engine, precision, encode_size.
    """

    model: str = "vit_b"
    window: str = "auto"
    plane: str = "auto"
    slices: str | None = None
    options: Mapping[str, Any] | None = None

    def build(self) -> ImageModel:
        """The model.

        Raises
        ------
        InputError
            If it encodes no whole slices.
        """
        built = registry.build(self.model, **(self.options or {}))
        spec = built.spec
        if not isinstance(built, ImageModel) or not spec.expensive_encode or spec.zoom is not None:
            raise InputError(
                f"model {spec.name!r} has nothing to prepare: it encodes no whole slices that "
                "could be kept; choose one that does, such as vit_b"
            )
        return built


@dataclass(frozen=True)
class Encoded:
    """What came of one plane of a scan.

    Attributes
    ----------
    plane
        Its name.
    now, kept
        Slices that were encoded, and that were kept already.
    """

    plane: str
    now: int
    kept: int


def encode(
    scan: Scan,
    how: Encoding,
    model: ImageModel,
    *,
    say_window: Callable[[Window], None] = lambda window: None,
    told: Callable[[str, int, int], None] = lambda plane, done, total: None,
) -> list[Encoded]:
    """Encode the slices of a scan that are not kept yet, and keep them.

    Parameters
    ----------
    scan
        Which.
    how, model
        The model is `Encoding.build`'s.
    say_window
        Takes the window, with which it is to be segmented.
    told
        Takes the plane, and how many slices are done of how many; raises to stop.

    Raises
    ------
    InputError
        If the scan cannot be read, or there are no such slices.
    """
    volume = io.read(scan.image, frame=scan.frame, series=scan.series)
    store = EmbeddingStore(MEMORY_BYTES, folders.embeddings_folder())
    session = Session(volume, model, Settings(window=how.window), store)
    say_window(session.window)
    names = list(PLANES) if how.plane == "all" else [choose_plane(how.plane, volume)]
    found = []
    for name in names:
        stack = SliceStack(volume, name, session.window)
        decoder = SliceDecoder(stack, model, store, session.volume_hash)
        views = [
            View.whole(index, stack.shape, model.spec.view_size)
            for index in _range(how.slices, len(stack))
        ]
        size = model.spec.batch
        for first in range(0, len(views), size):
            told(name, first, len(views))
            decoder.embed_batch(views[first : first + size])
        done = decoder.counts["encode"]
        found.append(Encoded(name, done, len(views) - done))
    return found


def _range(text: str | None, n: int) -> range:
    """Slices of ``A:B``, half-open; all for ``None``."""
    if text is None:
        return range(n)
    match = re.fullmatch(r"(\d*):(\d*)", text.strip())
    chosen = range(0)
    if match:
        low, high = (int(group) if group else None for group in match.groups())
        chosen = range(n)[low:high]
    if not chosen:
        raise InputError(f"no slices in {text!r}; expected A:B with A < B within 0:{n}")
    return chosen


@dataclass(frozen=True)
class EmbedJob:
    """Encoding many scans; see `sammed.many.task.Job`.

    Attributes
    ----------
    record
        Folder of the record.
    mark
        Hash of the model and how it is used.
    how
        See `Encoding`.
    largest
        Bytes that a worker may need.
    """

    record: Path
    mark: str
    how: Encoding
    largest: int

    def prepare(self) -> ImageModel:
        """The model."""
        return self.how.build()

    def memory(self) -> int:
        """See `sammed.many.task.Job`."""
        return self.largest

    def finished(self, task: Task, entry: Entry | None) -> Mapping[str, Any] | None:
        """Never: which slices are kept the store of embeddings tells, from which old ones go."""
        return None

    def begin(self, task: Task, entry: Entry | None) -> Mapping[str, Any]:
        """Make sure that its line of the manifest can be used."""
        task.what.check()
        return {}

    def work(
        self, tools: ImageModel, task: Task, entry: Entry | None, watch: Watch
    ) -> Mapping[str, Any]:
        """Encode one scan."""

        def told(plane: str, done: int, total: int) -> None:
            watch.check()
            watch.tell(f"{plane} {done}/{total}")

        found = encode(task.what, self.how, tools, told=told)
        return {"planes": [asdict(one) for one in found]}


def embed_many(
    scans: str | Path,
    how: Encoding,
    crew: Crew = Crew(),  # noqa: B008 - a value
    *,
    told: Told = lambda advance: None,
    say: Tell = lambda line: None,
) -> list[Outcome]:
    """Encode the slices of many scans that are not kept yet.

    Parameters
    ----------
    scans
        As `sammed.many.manifest.read_scans` takes them.
    how
        See `Encoding`.
    crew
        Who does it; all must reach the same ``SAMMED_HOME``.
    told, say
        As `sammed.many.runner.run_many`.

    Raises
    ------
    InputError, ModelError
        If the list or the model cannot be used.
    """
    manifest = read_scans(scans)
    for note in manifest.notes:
        say(f"note: {note}")
    check_window(how.window)
    spec = how.build().spec
    mark = fingerprint("embed", __version__, asdict(spec), asdict(how))
    options = dict(how.options or {})
    options["threads"] = crew.threads(options.get("threads"))
    how = replace(how, options=options)
    tasks = [Task(scan.id, replace(scan, image=scan.image.absolute())) for scan in manifest.scans]
    job = EmbedJob(
        folders.home().absolute() / "records" / fingerprint(mark, str(Path(scans).absolute())),
        mark, how, crew.memory(scan.image for scan in manifest.scans if not scan.error),
    )  # fmt: skip
    about = {"job": "embed", "model": spec.name, "scans of": str(scans)}
    outcomes = run_many(job, tasks, crew, about=about, told=told, say=say)
    kept = EmbeddingFolder(folders.embeddings_folder(), DEFAULT_DISK_BYTES).nbytes()
    if kept > FULL * DEFAULT_DISK_BYTES:
        say(
            f"note: {kept / 2**30:.0f} GB of embeddings are kept, of at most "
            f"{DEFAULT_DISK_BYTES / 2**30:.0f}: those that were not used for longest had to go, "
            "perhaps those of the first scans; encode fewer scans at a time"
        )
    return outcomes


def is_many(image: Path) -> bool:
    """Whether a path means several scans: a table, a glob, a project, a folder of images.

    Parameters
    ----------
    image
        As it was typed.

    Examples
    --------
    >>> is_many(Path("scans.csv")), is_many(Path("scans/*.nii.gz")), is_many(Path("ct.nii.gz"))
    (True, True, False)
    """
    if image.suffix.lower() in (".csv", ".tsv", ".json") or set(str(image)) & set("*?["):
        return not image.is_dir()
    if is_project(image):
        return True
    if not image.is_dir() or holds_dicom(image):
        return False
    return any(file.is_file() and longest_ending(file, ENDINGS) for file in image.iterdir())
