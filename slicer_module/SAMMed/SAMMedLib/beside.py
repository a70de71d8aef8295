"""Other scans beside the one in hand, and what nobody prompted: asked for, and made segments of."""

from __future__ import annotations

import dataclasses
import typing

import slicer
from slicer.i18n import tr as _

from . import (
    arriving,
    changes,
    errands,
    geometry,
    labelled,
    phases,
    prompts,
    segmentation,
    subject,
    telling,
    wording,
)
from .undoing import Undoing
from .work import EngineError, structure_called

LEARNED_FILES = ".sammed"
"""How the names of files end that sammed learned."""


@dataclasses.dataclass
class Asked:
    """An errand under way.

    Attributes
    ----------
    do
        See `errands`.
    about
        The volume and the segmentation as they were when it was asked.
    node_id
        The segmentation; ``None`` if it is made for what is found.
    replace
        Whether segments of the same name may be replaced.
    source_id
        The other scan's segmentation or label map, if it is in the scene.
    name
        Of the other scan.
    """

    do: str
    about: subject.Subject
    node_id: typing.Optional[str]
    replace: bool = False
    source_id: typing.Optional[str] = None
    name: str = ""


class Beside(Undoing):
    """Asks for what other scans show, compares with an earlier one, has things proposed.

    Attributes
    ----------
    examples
        What was put on the list of labelled scans: texts (a folder, or ``IMAGE,LABELS``), or the
        IDs of two nodes.
    findings
        The last `errands.Findings`; ``None`` if there are none of this volume.
    arrived
        What became of them, see `arriving.Arrived`.
    """

    def __init__(self):
        super().__init__()
        self.examples = []
        self.findings, self.arrived = None, None
        self._asked = self._arriving = None

    @property
    def errand(self):
        """What is under way, see `errands`; empty if nothing is."""
        return self._asked.do if self._asked is not None else ""

    # -- asking ------------------------------------------------------------------------------

    def take(self, chosen, names="", mirror=False, replace=False):
        """Take what labelled scans show.

        Parameters
        ----------
        chosen
            Entries as of `examples`.
        names
            What is wanted, as typed, with commas between; empty: all that is labelled.
        mirror
            Whether the other side counts as well.
        replace
            Whether segments of the same name may be replaced.
        """
        wanted = [name.strip() for name in names.split(",") if name.strip()]

        def make():
            if not chosen and not wanted:
                words = _("choose a labelled scan: a volume, and its segmentation or label map")
                raise EngineError("scene", words)
            given = [self._labelled(entry) for entry in chosen]
            fields = {"objects": wanted, "mirror": bool(mirror)}
            return errands.Errand(errands.TAKE, fields, given)

        pairs = [entry for entry in chosen if not isinstance(entry, str)]
        source = pairs[0][1] if len(pairs) == 1 else None
        self._ask_for(errands.TAKE, make, replace, source)

    def compare(self, earlier, labels, days=0, replace=False):
        """See what became of what was labelled in an earlier scan of the same person.

        Parameters
        ----------
        earlier, labels
            The earlier volume, and its segmentation or label map.
        days
            Between the scans; 0: not known.
        replace
            Whether segments of the same name may be replaced.
        """

        def make():
            if earlier is self.volume:
                raise EngineError("scene", _("this is the volume itself: choose the earlier scan"))
            told = labelled.read(self._volumes, earlier, labels, self.volume)
            return errands.Errand(errands.FOLLOW, {"days": float(days)}, [told])

        source = labels.GetID() if labels is not None else None
        name = earlier.GetName() if earlier is not None else ""
        self._ask_for(errands.FOLLOW, make, replace, source, name)

    @property
    def is_learned(self):
        """Whether the chosen model is a file that was learned from the user's own cases."""
        return bool(self.parameters) and self.parameters.model.endswith(LEARNED_FILES)

    @property
    def structure(self):
        """What the chosen segment is of all that the model was taught, by its name; else empty.

        ``None`` as long as it is not known what the model was taught.
        """
        taught = self.engine.taught(self.parameters.model or "compact")
        return None if taught is None else structure_called(self.called, taught)

    @property
    def is_behind(self):
        """Whether Segment has something to do: other prompts, or a name that means something else.

        The same prompts are answered by another network then.
        """
        model, structure = (self.history.run(self.key) or {}).get("asked", (None, ""))
        renamed = model == (self.parameters.model or "compact") and self.structure != structure
        return self.prompts_changed or (renamed and self.structure is not None)

    def find_learned(self):
        """Find all that the chosen model was taught; segments that are there are left alone."""
        self._ask_for(errands.LEARNED, lambda: errands.Errand(errands.LEARNED, {"objects": []}))

    def propose(self, most=10, least_ml=0.0, within="body"):
        """Have things proposed that nobody prompted.

        Parameters
        ----------
        most
            At most so many.
        least_ml
            Smallest volume; 0: as the engine thinks fit.
        within
            ``"body"`` or ``"image"``.
        """
        fields = {"max": int(most), "within": within}
        if least_ml > 0:
            fields["min_ml"] = float(least_ml)
        self._ask_for(errands.PROPOSE, lambda: errands.Errand(errands.PROPOSE, fields))

    def _labelled(self, entry):
        if isinstance(entry, str):
            return entry
        volume, labels = (slicer.mrmlScene.GetNodeByID(node_id) for node_id in entry)
        if volume is None or labels is None:
            raise EngineError("scene", _("a labelled scan on the list was removed from the scene"))
        if volume is self.volume:
            words = _("{name} is the volume itself: choose another scan")
            raise EngineError("scene", words.format(name=repr(volume.GetName())))
        return labelled.read(self._volumes, volume, labels)

    def _ask_for(self, do, make, replace=False, source_id=None, name=""):
        self._due = None
        if self.busy:
            return self._say(_("Another segmentation is running; cancel it first."), failed=True)
        problem = self._problem_beside()
        if problem:
            return self._say(problem, failed=True)
        if not self._writable():
            return None
        node = self.parameters.segmentation
        about = subject.Subject(self.volume, node)
        asked = Asked(do, about, node.GetID() if node is not None else None)
        asked.replace, asked.source_id, asked.name = bool(replace), source_id, name
        try:
            errand = make()
            if not self.parameters.window:
                self.copy_window()
            self._asked = asked
            self.findings = self.arrived = None
            self._say("")
            self.engine.ask(self._work(alone=True), errand.steps, self._came)
        except EngineError as error:
            self._asked = None
            return self._say(telling.refusal(str(error)), failed=True)
        return self.on_change()

    def _problem_beside(self):
        """Why nothing can be put into the chosen segmentation; empty if it can."""
        node = self.parameters.segmentation
        wrong = self.problem_of_volume()
        if not wrong and node is not None and segmentation.ids(node):
            wrong = segmentation.problem(node, self.volume)
        return wording.sentence(wrong) if wrong else ""

    # -- what comes back ---------------------------------------------------------------------

    def _came(self, kind, value):
        asked, self._asked = self._asked, None
        if asked is None:  # the scene was closed
            return None
        if kind == "cancelled":
            return self._say(_("Cancelled; nothing was changed."))
        if kind != "done":
            return self._say(telling.refusal(self._words(value)), failed=True)
        node = slicer.mrmlScene.GetNodeByID(asked.node_id) if asked.node_id else None
        misfit = asked.about.misfit()
        if not misfit and node is not None:
            misfit = segmentation.not_writable(node)
        if misfit:
            words = _("{why} What was found does not fit it and is dropped.")
            misfit = _("{what} meanwhile").format(what=misfit)
            return self._say(words.format(why=wording.sentence(misfit)), failed=True)
        self._asked = asked  # until all of it is written
        self._arriving = self._arrive(asked, node, value)
        return self.on_change()

    def _go_on(self):
        """Write the next of what was found."""
        if self._arriving is None:
            return
        try:
            next(self._arriving)
        except StopIteration as end:
            self._asked = self._arriving = None
            self._say(*end.value)
        except EngineError as error:
            self._asked = self._arriving = None
            self._say(self._words(error), failed=True)

    def _arrive(self, asked, node, findings):
        """Write what was found, an object at a time; returns what to say, and if it is bad."""
        volume = asked.about.volume
        arrived = arriving.Arrived(volume_id=volume.GetID())
        if any(one.block is not None for one in findings.found):
            if node is None:
                node = self._made(volume)
            elif not segmentation.ids(node):
                segmentation.attach(node, volume)
            source = slicer.mrmlScene.GetNodeByID(asked.source_id) if asked.source_id else None
            about, arrived.node_id = subject.Subject(volume, node), node.GetID()
            arrival = arriving.Arrival(
                self.history, about, node, self.parameters, asked.replace, source
            )
            for _written in arrival.write(findings, arrived):
                yield
                misfit = about.misfit()
                if misfit:
                    words = _("{why} What was found does not fit it any more; Undo takes back {n}.")
                    why = wording.sentence(_("{what} meanwhile").format(what=misfit))
                    return words.format(why=why, n=len(arrived.ids)), True
        if findings.table is not None:
            changes.write(volume, node, asked.name, findings.table, arrived.former)
        for segment_id in arrived.ids.values():
            self.surfaces.refresh(node, segment_id)
        if arrived.ids:
            self._choose(node, next(iter(arrived.ids.values())))
        self.findings, self.arrived = findings, arrived
        notes = [*findings.notes, *self._volumes.data(volume).notes]
        return telling.findings(findings, arrived, notes), False

    def _made(self, volume):
        """A new segmentation; where the user has chosen none, its history is the editor's."""
        node = segmentation.make(volume)
        if self.parameters.segmentation is None:
            self.parameters.segmentation = node
            if self.history.editor is not None:
                self.history.editor.show(node)
        return node

    def _choose(self, node, segment_id):
        """Go on with a segment, unless the user has turned to something else meanwhile."""
        chosen = self.parameters.segmentation
        if chosen is None or chosen is node:
            self.parameters.segmentation = node
            self.parameters.segmentID = segment_id
        self.placing.watch()
        prompts.show_only(self.key)

    def show_found(self, name):
        """Choose the segment of something that was found, and go there."""
        if self.arrived is None or self.volume is None:
            return
        segment_id = self.arrived.ids.get(name)
        node = slicer.mrmlScene.GetNodeByID(self.arrived.node_id) if segment_id else None
        if self.arrived.volume_id != self.volume.GetID() or not segmentation.exists(
            node, segment_id
        ):
            return
        self.parameters.segmentation, self.parameters.segmentID = node, segment_id
        self.retarget()
        block = segmentation.read(self.parameters.segmentation, segment_id, self.grid)[0]
        if block is not None:
            middle = arriving.centre(block)[::-1]
            self.show_place(geometry.world_from_ijk(self.volume, [middle])[0])
        self.on_change()

    @staticmethod
    def show_place(point):
        """Move all slice views to a RAS point."""
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.JumpSliceByCentering(*(float(v) for v in point))

    # -- channels ----------------------------------------------------------------------------

    def add_channel(self, node):
        """See the volume together with another one."""
        problem = self.problem_of_volume() or phases.problem(self.volume, node)
        if problem:
            return self._say(problem, failed=True)
        phases.add(self.volume, node)
        return self._say(_("Press Segment: what was drawn is looked at in all channels."))

    def rename_channel(self, number, name):
        """Give a channel another name; number 0 is the volume itself."""
        try:
            phases.rename(self.volume, number, name)
        except EngineError as error:
            return self._say(wording.sentence(str(error)), failed=True)
        return self._say("")

    def remove_channel(self, number):
        """Let a channel go."""
        phases.remove(self.volume, number)
        self._say("")
