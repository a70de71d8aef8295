"""The tables of the panel: segments with their prompts, slices with their quality."""

from __future__ import annotations

import qt

from . import segmentation, wording

_DOUBT = "#f6c9a0"


class SegmentTable:
    """Lists the segments of the chosen segmentation; names, colours and visibility can be changed.

    Parameters
    ----------
    table
        The widget.
    workflow
        See `workflow.Workflow`.
    parameters
        Gives the module's parameters; ``None`` while it is not the user who changes widgets.
    changed
        Called after something was changed.
    """

    def __init__(self, table, workflow, parameters, changed):
        self._table = table
        self._workflow = workflow
        self._parameters = parameters
        self._changed = changed
        self._listed = None
        _columns(table, ("", "Segment", "Prompts", "Volume"), stretch=1)
        table.connect("currentCellChanged(int,int,int,int)", self.onRow)
        table.connect("itemChanged(QTableWidgetItem*)", self.onItem)
        table.connect("cellDoubleClicked(int,int)", self.onCell)

    def onRow(self, row=-1, column=0, oldRow=0, oldColumn=0):
        """Another segment was chosen."""
        parameters = self._parameters()
        if parameters is None or parameters.segmentation is None:
            return
        ids = segmentation.ids(parameters.segmentation)
        if 0 <= row < len(ids):
            self._workflow.placing.end()
            parameters.segmentID = ids[row]
            self._changed()

    def onItem(self, item):
        """A segment was renamed, or shown or hidden."""
        parameters = self._parameters()
        if parameters is None or parameters.segmentation is None or item.column() != 1:
            return
        node = parameters.segmentation
        segment_id = segmentation.ids(node)[item.row()]
        name = item.text().strip()
        if name and name != node.GetSegmentation().GetSegment(segment_id).GetName():
            segmentation.rename(node, segment_id, name)
        shown = item.checkState() == qt.Qt.Checked
        node.GetDisplayNode().SetSegmentVisibility(segment_id, shown)
        self._changed()

    def onCell(self, row, column):
        """A double click on the colour changes it."""
        parameters = self._parameters()
        if column != 0 or parameters is None:
            return
        node = parameters.segmentation
        segment = node.GetSegmentation().GetSegment(segmentation.ids(node)[row])
        chosen = qt.QColorDialog.getColor(qt.QColor.fromRgbF(*segment.GetColor()))
        if chosen.isValid():
            segment.SetColor(chosen.redF(), chosen.greenF(), chosen.blueF())
            self._changed()

    def forget(self):
        """Fill the table anew when it is shown next."""
        self._listed = None

    def show(self, node, chosen):
        """Show the segments of a segmentation, and which is chosen."""
        table = self._table
        ids = segmentation.ids(node)
        rows = [self._row(node, segment_id) for segment_id in ids]
        if rows != self._listed:
            self._listed = rows
            table.setRowCount(len(rows))
            for n, (colour, name, shown, said, volume, meant) in enumerate(rows):
                mark = _item("")
                mark.setIcon(swatch(colour))
                title = _item(name, editable=True)
                title.setCheckState(qt.Qt.Checked if shown else qt.Qt.Unchecked)
                prompted = _item(said)
                prompted.setToolTip(meant)
                cells = (mark, title, prompted, _item(volume, right=True))
                for column, cell in enumerate(cells):
                    table.setItem(n, column, cell)
        if chosen in ids and table.currentRow() != ids.index(chosen):
            table.setCurrentCell(ids.index(chosen), 1)

    def _row(self, node, segment_id):
        segment = node.GetSegmentation().GetSegment(segment_id)
        shown = node.GetDisplayNode().GetSegmentVisibility(segment_id)
        volume = self._workflow.history.ml((node.GetID(), segment_id))
        return (
            tuple(segment.GetColor()),
            segment.GetName(),
            bool(shown),
            wording.prompts_short(node, segment_id),
            "" if volume is None else f"{volume:.1f} ml",
            wording.prompts_long(node, segment_id),
        )


class QualityTable:
    """Lists the slices of the chosen segment's last run; a click shows the slice.

    Parameters
    ----------
    table, label
        The widgets: the slices, and where the engine stopped.
    workflow
        See `workflow.Workflow`.
    """

    def __init__(self, table, label, workflow):
        self._table, self._label = table, label
        self._workflow = workflow
        self._shown = None
        _columns(table, ("Slice", "Area", "Confidence", "Agrees", "From"), stretch=4)
        table.connect("cellClicked(int,int)", self.onCell)

    @property
    def _run(self):
        return self._workflow.history.run(self._workflow.key)

    def onCell(self, row, column=0):
        """Go to the slice of a line."""
        run = self._run
        if run and 0 <= row < len(run["slices"]):
            self._workflow.jump(run["slices"][row])

    def forget(self):
        """Fill the table anew when it is shown next."""
        self._shown = None

    def show(self):
        """Show the last run."""
        run = self._run
        if run is self._shown:
            return
        self._shown = run
        table = self._table
        lines = run["slices"] if run else []
        self._label.setText(wording.stops(run) if run else "Nothing segmented yet.")
        table.setRowCount(len(lines))
        for row, line in enumerate(lines):
            doubtful = wording.is_doubtful(line)
            for column, text in enumerate(wording.quality(line)):
                cell = _item(text, right=column < 4)
                if doubtful:
                    cell.setBackground(qt.QBrush(qt.QColor(_DOUBT)))
                    cell.setForeground(qt.QBrush(qt.QColor("black")))
                table.setItem(row, column, cell)


def swatch(colour, size=14):
    """An icon of one colour."""
    pixmap = qt.QPixmap(size, size)
    pixmap.fill(qt.QColor.fromRgbF(*colour))
    return qt.QIcon(pixmap)


def _columns(table, titles, stretch):
    table.setColumnCount(len(titles))
    table.setHorizontalHeaderLabels(list(titles))
    header = table.horizontalHeader()
    for column in range(len(titles)):
        mode = qt.QHeaderView.Stretch if column == stretch else qt.QHeaderView.ResizeToContents
        header.setSectionResizeMode(column, mode)
    header.setMinimumSectionSize(26)
    table.verticalHeader().setDefaultSectionSize(24)


def _item(text, editable=False, right=False):
    item = qt.QTableWidgetItem(text)
    flags = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
    if editable:
        flags = flags | qt.Qt.ItemIsEditable | qt.Qt.ItemIsUserCheckable
    item.setFlags(flags)
    if right:
        item.setTextAlignment(int(qt.Qt.AlignRight) | int(qt.Qt.AlignVCenter))
    return item
