"""The sections about other scans, phases and proposals: shows what the workflow says of them."""

from __future__ import annotations

import qt
import slicer
from slicer.i18n import tr as _

from . import changes, errands, labelled, phases, telling

ERRANDS = (
    ("takeButton", errands.TAKE),
    ("compareButton", errands.FOLLOW),
    ("proposeButton", errands.PROPOSE),
    ("learnedButton", errands.LEARNED),
)


def choices():
    """What can be chosen in these sections, by the name of the combo box."""
    return {
        "alignBox": (
            "align",
            ("auto", _("moved only with good reason")),
            ("none", _("taken voxel by voxel")),
            ("header", _("where the files say")),
            ("rigid", _("always moved")),
            ("deformable", _("moved and bent")),
        ),
    }


_HEAD, _LINE, _MOST_LINES = 24, 24, 6
"""Heights of tables in pixels; longer ones are scrolled."""


class OthersPanel:
    """Widgets of these sections on one side, the workflow on the other.

    Parameters
    ----------
    ui
        The widgets of ``SAMMed.ui`` by name.
    workflow
        See `workflow.Workflow`.
    """

    def __init__(self, ui, workflow):
        self.ui, self.workflow = ui, workflow
        self._shown = {}
        self._updating = False
        for table, titles, stretched in (
            (ui.foundTable, (_("Object"), _("ml"), _("Agreement"), _("Note")), 3),
            (ui.thingsTable, (_("Thing"), _("Score"), _("ml"), _("Part of")), 3),
            (ui.channelsTable, (_("Name"), _("Volume"), _("Alignment")), 2),
            (
                ui.changesTable,
                (_("Lesion"), _("Then"), _("Now"), _("+/- ml"), "%", _("Doubles"), _("State")),
                6,
            ),
        ):
            _prepare(table, titles, stretched)
        ui.withinBox.addItem(_("the body"), "body")
        ui.withinBox.addItem(_("the whole image"), "image")
        self._connect()

    def _connect(self):
        ui = self.ui
        for name, slot in (
            ("addExampleButton", self.onAddExample),
            ("filesButton", self.onFiles),
            ("folderButton", self.onFolder),
            ("dropExampleButton", self.onDropExample),
            ("takeButton", self.onTake),
            ("compareButton", self.onCompare),
            ("addChannelButton", self.onAddChannel),
            ("removeChannelButton", self.onRemoveChannel),
            ("proposeButton", self.onPropose),
            ("learnedButton", self.onLearned),
        ):
            getattr(ui, name).connect("clicked()", slot)
        for name, labels in (
            ("exampleSelector", ui.exampleLabelsSelector),
            ("earlierSelector", ui.earlierLabelsSelector),
        ):
            getattr(ui, name).connect(
                "currentNodeChanged(vtkMRMLNode*)",
                lambda node=None, labels=labels: self.onOther(node, labels),
            )
        for name in ("exampleLabelsSelector", "earlierLabelsSelector", "channelSelector"):
            getattr(ui, name).connect("currentNodeChanged(vtkMRMLNode*)", self.onChosen)
        ui.objectsEdit.connect("textChanged(QString)", self.onChosen)
        ui.examplesList.connect("currentRowChanged(int)", self.onChosen)
        ui.channelsTable.connect("cellChanged(int,int)", self.onRename)
        ui.channelsTable.connect("currentCellChanged(int,int,int,int)", self.onChosen)
        ui.foundTable.connect("cellClicked(int,int)", self.onFound)
        ui.thingsTable.connect("cellClicked(int,int)", self.onThing)
        ui.changesTable.connect("cellClicked(int,int)", self.onChange)

    # -- what the user does ------------------------------------------------------------------

    def onOther(self, node, selector):
        """Another scan was chosen: what is labelled on it is most likely meant."""
        if node is not None:
            meant = labelled.labels_of(node)
            if meant is not None:
                selector.setCurrentNode(meant)
        self.show()

    def onChosen(self, *_what):
        """Something was chosen, or typed."""
        self.show()

    def onAddExample(self):
        """Put the chosen pair on the list."""
        entry = self._pair()
        if entry is not None and entry not in self.workflow.examples:
            self.workflow.examples.append(entry)
            self.ui.exampleSelector.setCurrentNode(None)
            self.ui.exampleLabelsSelector.setCurrentNode(None)
        self.show()

    def onFiles(self):
        """Put an image and its label map, two files, on the list."""
        window = slicer.util.mainWindow()
        image = qt.QFileDialog.getOpenFileName(window, _("The labelled scan"))
        labels = image and qt.QFileDialog.getOpenFileName(window, _("Its label map"))
        self._put(f"{image},{labels}" if labels else "")

    def onFolder(self):
        """Put a folder of labelled scans on the list."""
        window = slicer.util.mainWindow()
        self._put(qt.QFileDialog.getExistingDirectory(window, _("Folder of labelled scans")))

    def _put(self, text):
        if text and text not in self.workflow.examples:
            self.workflow.examples.append(text)
        self.show()

    def onDropExample(self):
        """Take the chosen entry off the list."""
        row = self.ui.examplesList.currentRow
        if 0 <= row < len(self.workflow.examples):
            del self.workflow.examples[row]
        self.show()

    def onTake(self):
        """Take what the labelled scans show, or cancel that."""
        if self.workflow.busy:
            return self.workflow.cancel()
        chosen, pair = list(self.workflow.examples), self._pair()
        if pair is not None and pair not in chosen:
            chosen.append(pair)
        ui = self.ui
        return self.workflow.take(
            chosen, ui.objectsEdit.text, ui.mirrorCheck.checked, ui.replaceCheck.checked
        )

    def onCompare(self):
        """Compare with the earlier scan, or cancel that."""
        if self.workflow.busy:
            return self.workflow.cancel()
        ui = self.ui
        earlier, labels = ui.earlierSelector.currentNode(), ui.earlierLabelsSelector.currentNode()
        return self.workflow.compare(
            earlier, labels, ui.daysBox.value, ui.replaceLesionsCheck.checked
        )

    def onPropose(self):
        """Have things proposed, or cancel that."""
        if self.workflow.busy:
            return self.workflow.cancel()
        ui = self.ui
        within = ui.withinBox.itemData(ui.withinBox.currentIndex)
        return self.workflow.propose(ui.mostBox.value, ui.leastBox.value, within)

    def onLearned(self):
        """Find what the chosen model was taught, or cancel that."""
        if self.workflow.busy:
            return self.workflow.cancel()
        return self.workflow.find_learned()

    def onAddChannel(self):
        """See the volume together with the chosen one."""
        self.workflow.add_channel(self.ui.channelSelector.currentNode())
        self.ui.channelSelector.setCurrentNode(None)
        self.show()

    def onRemoveChannel(self):
        """Let the chosen channel go."""
        self.workflow.remove_channel(self.ui.channelsTable.currentRow())
        self.show()

    def onRename(self, row, column=0):
        """A channel was given another name in the table."""
        item = self.ui.channelsTable.item(row, 0)
        if not self._updating and column == 0 and item is not None and self._volume() is not None:
            self.workflow.rename_channel(row, item.text())
            self._shown.pop("channels", None)  # a name that is refused goes back
            self.show()

    def onFound(self, row, column=0):
        """Go to what was found."""
        self._go(row)

    def onThing(self, row, column=0):
        """Go to what was proposed."""
        self._go(row)

    def _go(self, row):
        findings = self.workflow.findings
        if findings is not None and 0 <= row < len(findings.found):
            self.workflow.show_found(findings.found[row].name)

    def onChange(self, row, column=0):
        """Go to where a lesion is, or was."""
        node = changes.of(self._volume())
        told = changes.rows(node)[row] if node is not None else None
        if told is not None and told["R"] is not None:
            self.workflow.show_found(told["lesion"])
            self.workflow.show_place([told[name] for name in "RAS"])

    # -- what the user sees ------------------------------------------------------------------

    def show(self):
        """Show the state of these sections."""
        if self._updating:
            return
        self._updating = True
        try:
            self._show()
        finally:
            self._updating = False

    def _show(self):
        self._show_examples()
        self._show_channels()
        self._show_findings()
        self._show_changes()
        self._show_buttons()

    def _show_buttons(self):
        ui, workflow = self.ui, self.workflow
        volume, errand = self._volume(), workflow.errand if self._is_there() else ""
        cancelling = workflow.engine.state == "cancelling"
        pairs = {
            "takeButton": bool(workflow.examples or self._pair() or ui.objectsEdit.text.strip()),
            "compareButton": bool(
                ui.earlierSelector.currentNode() and ui.earlierLabelsSelector.currentNode()
            ),
            "proposeButton": True,
            "learnedButton": True,
        }
        words = {
            "takeButton": _("Take from it"),
            "compareButton": _("Compare"),
            "proposeButton": _("Propose things"),
            "learnedButton": _("Find learned"),
        }
        for name, do in ERRANDS:
            mine = errand == do
            button = getattr(ui, name)
            cancel = _("Cancelling...") if cancelling else _("Cancel")
            button.setText(cancel if mine else words[name])
            free = volume is not None and not workflow.busy and pairs[name]
            button.setEnabled(bool((mine and not cancelling) or free))
        ui.learnedButton.setVisible(bool(workflow.is_learned or errand == errands.LEARNED))
        ui.addExampleButton.setEnabled(self._pair() is not None)
        ui.dropExampleButton.setEnabled(ui.examplesList.currentRow >= 0)
        ui.addChannelButton.setEnabled(
            bool(volume is not None and ui.channelSelector.currentNode() and not workflow.busy)
        )
        row = ui.channelsTable.currentRow()
        ui.removeChannelButton.setEnabled(row > 0 and not workflow.busy)

    def _show_examples(self):
        listed = [_entry(entry) for entry in self.workflow.examples]
        self.ui.examplesList.setVisible(bool(listed))
        self.ui.dropExampleButton.setVisible(bool(listed))
        if listed == self._shown.get("examples"):
            return
        self._shown["examples"] = listed
        self.ui.examplesList.clear()
        for text in listed:
            self.ui.examplesList.addItem(text)

    def _show_channels(self):
        volume, engine = self._volume(), self.workflow.engine
        channels = phases.listed(volume)
        lines = [
            (name, n.GetName(), telling.aligned(engine.aligned, name) or _("told after Segment"))
            for name, n in channels
        ]
        if channels:
            lines = [(phases.own_name(volume), volume.GetName(), _("its grid is kept")), *lines]
        self.ui.channelsTable.setVisible(bool(lines))
        self.ui.removeChannelButton.setVisible(bool(lines))
        if lines != self._shown.get("channels"):
            self._shown["channels"] = lines
            _fill(self.ui.channelsTable, lines, editable=(0,))

    def _show_findings(self):
        findings, arrived = self.workflow.findings, self.workflow.arrived
        volume = self._volume()
        if arrived is None or volume is None or arrived.volume_id != volume.GetID():
            findings = None  # of another volume
        for table in (self.ui.foundTable, self.ui.thingsTable):
            table.setVisible(table.rowCount > 0)
        if findings is self._shown.get("findings", self):
            return
        self._shown["findings"] = findings
        found, things = [], []
        if findings is not None and findings.do in (errands.TAKE, errands.LEARNED):
            found = [telling.found_cells(one, arrived) for one in findings.found]
        elif findings is not None and findings.do == errands.PROPOSE:
            for one in findings.found:
                ml = self.workflow.history.ml((arrived.node_id, arrived.ids.get(one.name)))
                things.append(telling.thing_cells(one, arrived, ml))
        _fill(self.ui.foundTable, found, right=(1, 2))
        _fill(self.ui.thingsTable, things, right=(1, 2))
        self.ui.foundTable.setVisible(bool(found))
        self.ui.thingsTable.setVisible(bool(things))

    def _show_changes(self):
        node = changes.of(self._volume())
        key = (node.GetID(), node.GetTable().GetMTime()) if node is not None else None
        for widget in (self.ui.changesTable, self.ui.changesLabel):
            widget.setVisible(key is not None)
        if key == self._shown.get("changes", self):
            return
        self._shown["changes"] = key
        lines = [telling.change_cells(row) for row in changes.rows(node)] if node else []
        _fill(self.ui.changesTable, lines, right=(1, 2, 3, 4, 5))
        self.ui.changesLabel.setText(telling.compared(changes.about(node)) if node else "")

    # -- what they share ---------------------------------------------------------------------

    def _is_there(self):
        return self.workflow.parameters is not None

    def _volume(self):
        return self.workflow.volume if self._is_there() else None

    def _pair(self):
        """The IDs of the chosen scan and its labels; ``None`` if one is missing."""
        image = self.ui.exampleSelector.currentNode()
        labels = self.ui.exampleLabelsSelector.currentNode()
        return (image.GetID(), labels.GetID()) if image is not None and labels is not None else None


def _entry(entry):
    """An entry of the list in words."""
    if isinstance(entry, str):
        return entry.replace(",", " + ")
    nodes = [slicer.mrmlScene.GetNodeByID(node_id) for node_id in entry]
    return " + ".join(node.GetName() if node is not None else _("(removed)") for node in nodes)


def _prepare(table, titles, stretched):
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    header = table.horizontalHeader()
    for column in range(len(titles)):
        mode = qt.QHeaderView.Stretch if column == stretched else qt.QHeaderView.ResizeToContents
        header.setSectionResizeMode(column, mode)
    header.setMinimumSectionSize(26)
    table.verticalHeader().setDefaultSectionSize(_LINE)
    table.verticalHeader().setVisible(False)


def _fill(table, lines, right=(), editable=()):
    table.setRowCount(len(lines))
    table.setFixedHeight(_HEAD + _LINE * min(len(lines), _MOST_LINES))
    for row, cells in enumerate(lines):
        for column, text in enumerate(cells):
            item = qt.QTableWidgetItem(text)
            flags = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
            item.setFlags(flags | qt.Qt.ItemIsEditable if column in editable else flags)
            item.setToolTip(text)
            if column in right:
                item.setTextAlignment(int(qt.Qt.AlignRight) | int(qt.Qt.AlignVCenter))
            table.setItem(row, column, item)
