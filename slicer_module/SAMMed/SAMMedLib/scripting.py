"""For scripts: segment, and wait for it."""

from __future__ import annotations

import time

import numpy as np
import slicer
from slicer.i18n import tr as _

from . import geometry, phases, prompts, segmentation, subject
from .work import EngineError

POLL_SECONDS = 0.01

_SETTINGS = {"model", "device", "plane", "window", "overlap", "align"}


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
        an existing segmentation node. ``model``, ``device``, ``plane``, ``window``, ``overlap``,
        ``align`` as in the panel. ``channels``: name → volume node, seen together with the volume
        from now on. ``convert``: a segmentation of surfaces may be converted to voxels.

    Returns
    -------
    (segmentation node, segment ID)

    Raises
    ------
    EngineError
        If it did not work; the message is what the panel would say.
    """
    _check(choices, {"inside", "outside", "name", "channels"})
    kept_ask, workflow.ask = workflow.ask, lambda question: bool(choices.get("convert"))
    try:
        _choose(workflow, volume, choices)
        if "channels" in choices:
            _join(workflow, choices["channels"])
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


def take(workflow, volume, examples=(), objects=(), mirror=False, replace=False, **choices):
    """Take what labelled scans show, or what a learned model finds, and wait for it.

    Parameters
    ----------
    workflow, volume
        As for `segment`.
    examples
        (volume node, segmentation or label map node), folders, or texts ``IMAGE,LABELS``. None: the
        ``model`` is a file that sammed learned, and is asked.
    objects
        Names of what is wanted; all that is labelled, or learned, if left out.
    mirror
        Whether the other side counts as well.
    replace
        Whether segments of the same name may be replaced.
    choices
        ``segmentation``, ``convert`` and settings, as for `segment`.

    Returns
    -------
    (segmentation node, name → segment ID)
        What was not found is told in ``workflow.message``.

    Raises
    ------
    EngineError
        As of `segment`.
    """
    given = [
        one if isinstance(one, str) else tuple(node.GetID() for node in one) for one in examples
    ]

    def ask():
        if not given and not objects and workflow.is_learned:
            workflow.find_learned()
        else:
            workflow.take(given, ",".join(objects), mirror, replace)

    return _beside(workflow, volume, choices, ask)


def compare(workflow, volume, earlier, labels, days=0, replace=False, **choices):
    """Find again what was labelled in an earlier scan of the same person, and wait for it.

    Parameters
    ----------
    workflow, volume, replace, choices
        As for `take`.
    earlier, labels
        The earlier volume node, and its segmentation or label map node.
    days
        Between the scans; 0: not known.

    Returns
    -------
    (segmentation node, name → segment ID)
        The table of changes is ``changes.of(volume)``.

    Raises
    ------
    EngineError
        As of `segment`.
    """

    def ask():
        workflow.compare(earlier, labels, days, replace)

    return _beside(workflow, volume, choices, ask)


def propose(workflow, volume, most=10, least_ml=0.0, within="body", **choices):
    """Have things proposed that nobody prompted, and wait for them.

    Parameters
    ----------
    workflow, volume, choices
        As for `take`.
    most, least_ml, within
        At most so many; smallest volume; ``"body"`` or ``"image"``.

    Returns
    -------
    (segmentation node, name → segment ID)

    Raises
    ------
    EngineError
        As of `segment`; also where nothing was found.
    """
    return _beside(workflow, volume, choices, lambda: workflow.propose(most, least_ml, within))


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


def _check(choices, names):
    """Make sure that all choices are known."""
    names = names | {"segmentation", "convert"}
    unknown = set(choices) - names - _SETTINGS
    if unknown:
        words = _("unknown argument {found}; expected some of {known}")
        found, known = (", ".join(sorted(n)) for n in (unknown, names | _SETTINGS))
        raise EngineError("script", words.format(found=found, known=known))


def _choose(workflow, volume, choices):
    parameters = workflow.parameters
    parameters.volume = volume
    parameters.segmentation = choices.get("segmentation")
    for name in _SETTINGS & set(choices):
        setattr(parameters, name, choices[name])


def _join(workflow, channels):
    """See the volume together with these from now on, and with no others."""
    while phases.listed(workflow.volume):
        workflow.remove_channel(1)
    for name, node in channels.items():
        workflow.add_channel(node)
        _fail(workflow)
        workflow.rename_channel(len(phases.listed(workflow.volume)), name)
        _fail(workflow)


def _beside(workflow, volume, choices, ask):
    """Ask for something without a prompt, and wait for it."""
    _check(choices, set())
    kept_ask, workflow.ask = workflow.ask, lambda question: bool(choices.get("convert"))
    try:
        _choose(workflow, volume, choices)
        ask()
        _fail(workflow)
        wait(workflow, lambda: not workflow.busy)
        _fail(workflow)
    finally:
        workflow.ask = kept_ask
    return workflow.parameters.segmentation, dict(workflow.arrived.ids)


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
