"""The table of slices: how certain each is, and how well it fits its neighbor."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from . import telling, wording

_DOUBT = "#f6c9a0"


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
        titles = (_("Slice"), _("Area"), _("Certainty"), _("Fit"), _("Source"))
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(list(titles))
        header = table.horizontalHeader()
        for column in range(len(titles)):
            last = column == len(titles) - 1
            mode = qt.QHeaderView.Stretch if last else qt.QHeaderView.ResizeToContents
            header.setSectionResizeMode(column, mode)
        header.setMinimumSectionSize(26)
        table.verticalHeader().setDefaultSectionSize(24)
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
        lines = run["slices"] if run else []
        words = telling.found_by(run) or wording.stops(run) if run else _("Nothing segmented yet.")
        self._label.setText(words)
        told = [f"{stop['index']}: {stop['text']}" for stop in run["stops"]] if run else []
        self._label.setToolTip("\n".join(told))  # in the engine's own words, with numbers
        self._table.setRowCount(len(lines))
        for row, line in enumerate(lines):
            doubtful = wording.is_doubtful(line)
            for column, text in enumerate(wording.quality(line)):
                self._table.setItem(row, column, _item(text, column < 4, doubtful))


def _item(text, right, doubtful):
    item = qt.QTableWidgetItem(text)
    item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
    if right:
        item.setTextAlignment(int(qt.Qt.AlignRight) | int(qt.Qt.AlignVCenter))
    if doubtful:
        item.setBackground(qt.QBrush(qt.QColor(_DOUBT)))
        item.setForeground(qt.QBrush(qt.QColor("black")))
    return item
