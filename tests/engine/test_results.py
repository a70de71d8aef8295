"""What became of an object, slice by slice."""

from __future__ import annotations

import numpy as np

from sammed.engine.object_volume import ObjectVolume
from sammed.engine.propagation import Stop
from sammed.engine.results import as_it_became
from sammed.engine.tracing import Trace
from sammed.imaging.boxes import Box3D

FOUND = np.full((6, 4, 4), -4, np.float16)
FOUND[1:5, 1:3, 1:3] = 2
VOLUME = ObjectVolume(Box3D(10, 0, 0, 16, 4, 4), FOUND)
ENDS = Stop(11, -1, "empty", "nothing more"), Stop(13, 1, "empty", "nothing more")


def test_slices_beyond_a_chains_end_are_in_the_table_and_no_stop_says_otherwise():
    traced = {i: VOLUME.across(0, i) for i in (11, 12, 13)}
    trace = as_it_became(Trace(traced, ENDS, frozenset({12})), VOLUME, axis=0)
    assert sorted(trace.slices) == [11, 12, 13, 14]
    assert all(trace.slices[i] is traced[i] for i in traced)
    added = trace.slices[14]
    assert added.area == 4
    assert 0.5 < added.predicted_iou < 0.95
    assert [stop.index for stop in trace.stops] == [11]


def test_a_trace_that_shows_all_stays_as_it_is():
    trace = Trace({i: VOLUME.across(0, i) for i in range(11, 15)}, ENDS, frozenset({12}))
    assert as_it_became(trace, VOLUME, axis=0) is trace
