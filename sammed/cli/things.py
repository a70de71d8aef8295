"""``sammed propose IMAGE``: things that nobody prompted, as objects to go on from."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sammed.cli.console import duration, meter, put, say
from sammed.cli.outputs import check_outputs
from sammed.errors import InputError

if TYPE_CHECKING:
    from sammed.everything.found import Things

_Result = TypeVar("_Result")

NAMED = 12
"""So many things are told one by one."""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for, as typed; see ``sammed propose --help``."""

    image: Path
    output: Path | None
    within: str
    min_ml: float | None
    most: int
    like: Path | None
    known: Path | None
    model: str
    window: str
    table: Path | None
    preview: Path | None
    report: Path | None
    frame: int | None
    series: str | None
    device: str
    threads: int | None
    force: bool
    as_json: bool
    quiet: bool


def propose_things(asked: Asked) -> None:
    """Find things, write what was asked for, and tell."""
    if asked.output is None and not asked.as_json:
        raise InputError("say where the things go: -o things.nii.gz (or --json)")
    from sammed import api, io
    from sammed.everything.coarse import require_skimage
    from sammed.everything.found import Wishes
    from sammed.everything.things import find_things
    from sammed.models import registry

    require_skimage()
    inputs = {str(asked.image): "the image"}
    outputs = [] if asked.output is None else [asked.output]
    tables = [] if asked.table is None else [asked.table]
    written = check_outputs(inputs, outputs, asked.report, asked.preview, asked.force, tables)
    if asked.output is not None:
        io.output_format(asked.output, None)
    wishes = Wishes(asked.within, asked.min_ml, asked.most, window=asked.window, known=asked.known)
    wishes.check()
    volume = io.read(asked.image, frame=asked.frame, series=asked.series)
    for note in () if asked.quiet else volume.notes:
        say(f"note: {note}")
    if asked.like is not None:
        like = api.gather_prompts(volume, files=(asked.like,))
        wishes = replace(wishes, like=tuple(like))
    model = registry.build(asked.model, device=asked.device, threads=asked.threads)
    started = time.perf_counter()
    with _progress(asked.quiet) as told:
        found = _in_background(lambda: find_things(volume, model, wishes, told))
    seconds = time.perf_counter() - started
    for note in () if asked.quiet else found.notes:
        say(f"note: {note}")
    _write(asked, found, model.spec.name, seconds, written)


def _write(
    asked: Asked, found: Things, model: str, seconds: float, written: dict[str, Path]
) -> None:
    from sammed import io
    from sammed.everything.table import csv_text, painted, prompt_file, report

    shown = painted(found)
    document = report(found, shown.hidden, model, seconds, asked.output)
    force = asked.force
    if asked.output is not None:
        io.write_labels(shown.labels, asked.output, force=force)
    if asked.table is not None:
        io.atomic_text(asked.table, csv_text(found), force=force)
    if "report" in written:
        io.atomic_text(written["report"], json.dumps(document, indent=1) + "\n", force=force)
        prompts = json.dumps(prompt_file(found, model), indent=1) + "\n"
        io.atomic_text(written["prompts"], prompts, force=force)
    if "preview" in written:
        from sammed.reporting.preview import draw_preview

        bare = replace(shown.labels, names={})
        picture = draw_preview(found.volume, bare, found.window)
        with io.atomic_output(written["preview"], force=force) as temporary:
            picture.save(temporary, format="PNG")
    if asked.as_json:
        put(document)
    elif not asked.quiet:
        _summary(document, [p for p in (asked.output, asked.table) if p] + [*written.values()])


def _summary(document: dict[str, Any], files: list[Path]) -> None:
    things = document["things"]
    for thing in things[:NAMED]:
        about = [f"score {thing['score']:.2f}", f"{thing['volume_ml']:.4g} ml"]
        about += [f"in {thing['parent']}"] if thing["parent"] else []
        about += ["known"] if thing["known"] else []
        about += ["touches the edge"] if thing["touches_edge"] else []
        say(f"{thing['name']}: {', '.join(about)}")
    if len(things) > NAMED:
        say(f"... and {len(things) - NAMED} more")
    if hidden := document["hidden_share"]:
        say(
            f"note: smaller things lie on {len(hidden)} of them in the label map; the share that "
            "is hidden of each is in the report"
        )
    say(
        f"{len(things)} things of {document['candidates_asked']} candidates from "
        f"{document['regions_seen']} regions in {document['seconds']:.1f} s; scores give an order "
        "and are no probabilities"
    )
    say("wrote " + ", ".join(str(path) for path in files))


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Progress of the whole search: what is done, and how long this step will still take."""
    with meter(quiet, every=30) as draw:
        step, started = "", time.perf_counter()

        def told(doing: str, done: int, total: int) -> None:
            nonlocal step, started
            if doing != step:
                step, started = doing, time.perf_counter()
            spent = time.perf_counter() - started
            left = f"{duration(spent / done * (total - done))} left" if done else ""
            draw(doing, left, done, total)

        yield told


def _in_background(work: Callable[[], _Result]) -> _Result:
    """Do some work in a thread, so that Ctrl-C need not wait for a library's long call."""
    done: list[_Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if failed:
        raise failed[0]
    return done[0]
