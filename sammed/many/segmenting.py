"""Segment many scans with one model: `sammed.batch`, and what its workers do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed import api, io
from sammed.engine.settings import Settings
from sammed.errors import InputError, OutputError
from sammed.examples.model import ExampleModel
from sammed.imaging.intensity import check_window, window_notes
from sammed.io.output import check_folder, check_output
from sammed.io.recognition import output_format, stem
from sammed.many.content import fingerprint, is_same, look
from sammed.many.crew import Crew, Tell
from sammed.many.explained import Explaining, explaining
from sammed.many.manifest import Manifest, Scan, read_scans
from sammed.many.record import clear_left_over
from sammed.many.runner import Told, run_many
from sammed.many.task import Entry, Outcome, Task, Watch
from sammed.models import registry
from sammed.reporting.run_report import prompt_document, run_report
from sammed.version import __version__
from sammed.views.embeddings import store_for

if TYPE_CHECKING:
    from sammed.examples.library import Example
    from sammed.models.protocols import Model
    from sammed.session import Session

ENDING = ".nii.gz"
"""Of label maps whose name the manifest does not give."""


@dataclass(frozen=True, eq=False)
class Tools:
    """What a worker holds for all its scans."""

    model: Model
    examples: Sequence[Example] = ()


@dataclass(frozen=True)
class SegmentJob:
    """Segmenting with one model and the same settings; see `sammed.many.task.Job`.

    Attributes
    ----------
    record
        Folder of the record.
    model
        A model's name or weights file.
    mark
        Hash of the model, the settings and the version.
    settings
        Of the engine.
    device, threads
        Where the model runs.
    force
        Whether label maps that are not this job's may be replaced.
    largest
        Bytes that a worker may need.
    explaining
        Labelled examples that explain the scans.
    """

    record: Path
    model: str
    mark: str
    settings: Settings = field(default_factory=Settings)
    device: str = "auto"
    threads: int | None = None
    force: bool = False
    largest: int = 0
    explaining: Explaining | None = None

    def prepare(self) -> Tools:
        """The model, and the examples."""
        model = registry.build(self.model, device=self.device, threads=self.threads)
        return Tools(model, () if self.explaining is None else self.explaining.examples())

    def memory(self) -> int:
        """See `sammed.many.task.Job`."""
        return self.largest

    def finished(self, task: Task, entry: Entry | None) -> Mapping[str, Any] | None:
        """The result, if scan, prompts, model and settings are as they were, and it is there."""
        scan: Scan = task.what
        if entry is None or entry.state != "done" or scan.error:
            return None
        result = entry.result
        outputs = {self._told(path) for path in _written(_output(scan)).values()}
        if result.get("mark") != self._mark(scan) or outputs != result.get("outputs", {}).keys():
            return None
        if not all(path.exists() for path in _written(_output(scan)).values()):
            return None
        inputs: Mapping[str, Mapping[str, str]] = result.get("inputs", {})
        files = {**{role: Path(role) for role in inputs}, **_files(scan)}
        same = all(is_same(path, inputs.get(role)) for role, path in files.items())
        return result if same else None

    def begin(self, task: Task, entry: Entry | None) -> Mapping[str, Any]:
        """Make sure that what is to be written replaces nothing of others."""
        scan: Scan = task.what
        scan.check()
        ours = {} if entry is None else entry.result.get("outputs", {})
        begun = entry is not None and entry.state == "begun"
        outputs = {}
        for path in _written(_output(scan)).values():
            former = ours.get(self._told(path))
            mine = former is not None and (begun or not former or is_same(path, former))
            check_output(path, force=self.force or mine)
            outputs[self._told(path)] = former if former and path.exists() else {}
        clear_left_over(_output(scan).parent)
        return {"outputs": outputs}

    def work(
        self, tools: Tools, task: Task, entry: Entry | None, watch: Watch
    ) -> Mapping[str, Any]:
        """Segment one scan; write its label map, its report and its prompts."""
        scan: Scan = task.what
        known = {} if entry is None else entry.result.get("inputs", {})
        files = _files(scan)
        inputs = {role: look(path, known.get(role)) for role, path in files.items()}
        volume, read_s = api.timed_read(scan.image, frame=scan.frame, series=scan.series)
        model = self._model(tools, scan)
        objects = api.gather_prompts(
            volume,
            named=scan.objects or None,
            structures=model.spec.structures,
            boxes=scan.boxes,
            files=scan.prompts,
        )
        painted = [Path(o.mask.source) for o in objects if o.mask is not None and o.mask.source]
        files |= {str(path): path for path in painted}
        inputs |= {str(path): look(path, known.get(str(path))) for path in painted}
        watch.check()
        spec = tools.model.spec
        session = api.make_session(volume, model, objects, self.settings, store_for(spec))
        watch.tell("segmenting")
        session.segment(cancel=lambda: watch.is_over)
        errors = api.check_segmented(session)
        assumed = window_notes(self.settings.window, volume, session.window)
        left_out = model.account.notes if isinstance(model, ExampleModel) else ()
        notes = (*objects.notes, *assumed, *left_out)
        check_untouched(files, inputs)
        outputs = self._write(session, scan, read_s, notes)
        labels = {obj.name: obj.label for obj in session.objects}
        return {
            "mark": self._mark(scan),
            "inputs": inputs,
            "outputs": outputs,
            "labels": labels,
            "notes": [*volume.notes, *notes, *errors],
        }

    def _model(self, tools: Tools, scan: Scan) -> Model:
        """What is asked about a scan: the model, or what examples make of it."""
        if self.explaining is None:
            return tools.model
        return self.explaining.model(tools.examples, tools.model, scan.objects, self.threads)

    def _write(
        self, session: Session, scan: Scan, read_s: float, notes: Sequence[str]
    ) -> dict[str, Mapping[str, str]]:
        paths = _written(_output(scan))
        labels = session.result()
        report = run_report(
            session, labels, output=scan.output, timings={"read": read_s}, notes=notes
        )
        prompts = prompt_document(session, paths["prompts"].parent)
        io.atomic_text(paths["prompts"], json.dumps(prompts, indent=1) + "\n", force=True)
        io.atomic_text(paths["report"], json.dumps(report, indent=1) + "\n", force=True)
        io.write_labels(labels, paths["labels"], force=True)
        return {self._told(path): look(path) for path in paths.values()}

    def _told(self, path: Path) -> str:
        """How the record calls an output: from its own place, so that both can move."""
        home = self.record.parent
        inside = path.is_relative_to(home)
        return (path.relative_to(home) if inside else path).as_posix()

    def _mark(self, scan: Scan) -> str:
        return fingerprint(self.mark, scan.boxes, scan.objects, scan.series, scan.frame)


def check_untouched(files: Mapping[str, Path], inputs: Mapping[str, Mapping[str, str]]) -> None:
    """Make sure that files have not changed since they were looked at.

    Parameters
    ----------
    files
        Paths, by what they are.
    inputs
        What `look` found then.

    Raises
    ------
    InputError
        If one has.
    """
    for role, path in files.items():
        if not is_same(path, inputs[role]):
            raise InputError(f"{path} was changed while it was read; let it be whole and try again")


def batch(
    scans: str | Path | Sequence[Mapping[str, Any]],
    output: str | Path,
    *,
    model: str = "compact",
    settings: Settings | None = None,
    objects: Sequence[str] = (),
    examples: Sequence[str | Path] = (),
    mirror: bool = False,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 1,
    scheduler: str = "",
    force: bool = False,
    progress: Told = lambda advance: None,
    say: Tell = lambda line: None,
) -> list[Outcome]:
    """Segment many scans: resumable, on several processes or a cluster, the model loaded once each.

    A scan whose files, prompts, model and settings have not changed is not segmented again. One
    that fails is recorded with its reason, and the others go on.

    Parameters
    ----------
    scans
        A manifest (``.csv`` or ``.json``), a list of mappings with the same keys, the folder of a
        project, or a glob or folder of scans; see `sammed.many.manifest.read_scans`.
    output
        Folder for label maps (``ID.nii.gz``) whose place the manifest does not say, and for the
        record.
    model
        A registry name, or a weights file.
    settings
        Plane, window, overlap, clean-up, ...
    objects
        What a learned model or the examples are to find, in scans whose line does not say it;
        default: all.
    examples
        Labelled scans that explain these: pairs ``IMAGE,LABELS``, and folders of such; see
        `sammed.examples.asking.gathered`. One that is the scan itself is left out of it.
    mirror
        Whether what they show of one side counts for the other.
    device, threads
        Where the model runs; threads of each worker.
    workers
        Processes on this computer. With several, call this under ``if __name__ == "__main__":``.
    scheduler
        Address of a Dask scheduler instead.
    force
        Whether label maps that this did not write may be replaced.
    progress
        Called with a `sammed.many.runner.Advance` whenever something has changed.
    say
        Takes lines for the user.

    Returns
    -------
    list of Outcome
        ``"done"`` or ``"failed"`` with its ``error``, in the order of the scans.

    Raises
    ------
    InputError
        If the manifest cannot be used, or there is no such model.
    OutputError
        If the folder cannot be written to.
    ModelError
        If the model's weights are not here, or Dask is needed and not installed.

    Examples
    --------
    >>> import tempfile
    >>> scan = {"image": "sample_data/phantom_ct.nii.gz", "box": "spleen=99,56,131,97@44"}
    >>> folder = tempfile.mkdtemp()
    >>> [one] = batch([scan], folder, model="two_class")
    >>> one.state, one.kept, one.result["labels"]
    ('done', False, {'spleen': 1})
    >>> batch([scan], folder, model="two_class")[0].kept
    True
    """
    manifest = read_scans(scans)
    for note in manifest.notes:
        say(f"note: {note}")
    folder = check_folder(output)
    crew = Crew(workers, scheduler)
    settings = settings or Settings()
    check_window(settings.window)
    explains = explaining(examples, mirror)
    spec = registry.build(model, device=device, threads=threads).spec
    threads = crew.threads(threads)
    mark = fingerprint("segment", __version__, asdict(spec), asdict(settings))
    largest = crew.memory(scan.image for scan in manifest.scans if not scan.error)
    if explains is not None:
        mark = fingerprint(mark, explains.mark)
        largest += explains.bytes if largest else 0
    job = SegmentJob(
        folder.absolute() / "record",
        str(Path(model).absolute()) if Path(model).is_file() else model,
        mark, settings, device, threads, force, largest, explains,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    about = {"job": "segment", "model": spec.name, "sammed": __version__, "output": str(folder)}
    tasks = _tasks(manifest, folder.absolute(), tuple(objects))
    return run_many(job, tasks, crew, about=about, told=progress, say=say)


def _tasks(manifest: Manifest, folder: Path, objects: tuple[str, ...]) -> list[Task]:
    """Each scan with whole paths, and a place for its label map that no other has."""
    tasks = []
    taken: dict[Path, str] = {}
    for scan in manifest.scans:
        output = (scan.output or folder / f"{scan.id}{ENDING}").absolute()
        error = scan.error or _wrong_kind(output)
        former = taken.setdefault(output, scan.id)
        if former != scan.id and not error:
            error = f"{output} is the output of {former} already; give {scan.id} its own"
        placed = replace(
            scan,
            image=scan.image.absolute(),
            prompts=tuple(path.absolute() for path in scan.prompts),
            objects=scan.objects or objects,
            output=output,
            error=error,
        )
        tasks.append(Task(scan.id, placed))
    return tasks


def _wrong_kind(output: Path) -> str:
    try:
        output_format(output)
    except OutputError as error:
        return str(error)
    return ""


def _output(scan: Scan) -> Path:
    """Where the label map of a task's scan goes, which `_tasks` has seen to."""
    if scan.output is None:
        raise OutputError(f"nothing says where the label map of {scan.id} goes")
    return scan.output


def _files(scan: Scan) -> dict[str, Path]:
    """The files that a scan names, by what they are."""
    prompts = {f"prompts {n}": path for n, path in enumerate(scan.prompts, 1)}
    return {"image": scan.image, **prompts}


def _written(output: Path) -> dict[str, Path]:
    """The files of one scan: its label map, its run report, prompts that replay it."""
    name = stem(output)
    return {
        "labels": output,
        "report": output.with_name(f"{name}.report.json"),
        "prompts": output.with_name(f"{name}.prompts.json"),
    }
