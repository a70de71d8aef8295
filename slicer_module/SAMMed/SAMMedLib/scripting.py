"""For scripts: segment, and wait for it."""

from __future__ import annotations

import time

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import geometry, prompts, segmentation, subject
from .work import EngineError

POLL_SECONDS = 0.01


def wait(workflow, condition):
    """Let the application and the workflow go on until something is so."""
    while not condition():
        workflow.poll()
        slicer.app.processEvents()
        time.sleep(POLL_SECONDS)


def segment(workflow, volume, boxes=(), **choices):
    """Segment one object of a volume, and wait for it.

    Parameters
    ----------
    workflow
        See `workflow.Workflow`.
    volume
        The volume node.
    boxes
        Markups ROI nodes, or blocks ``[k0, j0, i0, k1, j1, i1]`` of the volume's array, half-open.
        A block that is one voxel thick is a box on that slice; others are limits of the object.
    choices
        ``inside`` and ``outside``: RAS points, (n, 3). ``name`` of the segment. ``segmentation``:
        an existing segmentation node. ``model``, ``device``, ``plane``, ``window``, ``overlap``
        as in the panel. ``convert``: a segmentation of surfaces may be converted to voxels.

    Returns
    -------
    (segmentation node, segment ID)

    Raises
    ------
    EngineError
        If it did not work; the message is what the panel would say.
    """
    names = {"inside", "outside", "name", "segmentation", "convert"}
    settings = {"model", "device", "plane", "window", "overlap"}
    unknown = set(choices) - names - settings
    if unknown:
        words = _("unknown argument {found}; expected some of {known}")
        found, known = (", ".join(sorted(n)) for n in (unknown, names | settings))
        raise EngineError("script", words.format(found=found, known=known))
    parameters = workflow.parameters
    kept_ask, workflow.ask = workflow.ask, lambda question: bool(choices.get("convert"))
    try:
        parameters.volume = volume
        parameters.segmentation = choices.get("segmentation")
        for name in settings & set(choices):
            setattr(parameters, name, choices[name])
        workflow.add_segment(choices.get("name", ""))
        _fail(workflow)
        _prompt(workflow, boxes, choices)
        workflow.segment()
        _fail(workflow)
        wait(workflow, lambda: not workflow.busy)
        _fail(workflow)
    finally:
        workflow.ask = kept_ask
    return workflow.target


def segment_all(workflow, boxes, volumes=None, **choices):
    """The same object in several volumes of a scene, each with a segmentation of its own.

    Parameters
    ----------
    workflow, boxes, choices
        As for `segment`; ROI nodes lie where they are in the world, blocks in each array.
    volumes
        Volume nodes; all that can be segmented if left out.

    Returns
    -------
    dict
        By volume node ID: (segmentation node, segment ID), or the `EngineError`. One volume that
        does not work does not stop the others.
    """
    if volumes is None:
        every = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        volumes = [v for v in every if v.GetImageData() is not None and not subject.problem(v)]
    results = {}
    for volume in volumes:
        try:
            results[volume.GetID()] = segment(workflow, volume, boxes, **choices)
        except EngineError as error:
            results[volume.GetID()] = error
    return results


def _prompt(workflow, boxes, choices):
    node, segment_id = workflow.target
    volume = workflow.volume
    for box in boxes:
        if hasattr(box, "GetObjectToNodeMatrix"):
            block = geometry.roi_block(volume, box)
            if block is None:
                words = _("the box {name} lies outside the volume")
                raise EngineError("script", words.format(name=repr(box.GetName())))
        else:
            block = [int(n) for n in box]
        thin = [a for a in range(3) if block[a + 3] - block[a] == 1]
        axis = workflow.axis if workflow.axis in thin else (thin[0] if thin else None)
        prompts.place_box(node, segment_id, volume, block, axis)
    for role, name in ((prompts.POSITIVE, "inside"), (prompts.NEGATIVE, "outside")):
        for point in np.asarray(choices.get(name, ()), float).reshape(-1, 3):
            prompts.add_point(node, segment_id, role, point)


def _fail(workflow):
    if workflow.failed:
        raise EngineError("script", workflow.message)


def mask(workflow):
    """The chosen segment on the whole volume, (k, j, i) bool."""
    node, segment_id = workflow.target
    whole = [0, 0, 0, *geometry.shape_of(workflow.volume)]
    return segmentation.on_block(node, segment_id, workflow.grid, whole)
