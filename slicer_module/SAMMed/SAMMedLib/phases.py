"""Phases and channels of a volume: other volumes of the same person, seen together with it.

They are kept with the volume, as references of its node, and come back with the scene.
"""

from __future__ import annotations

import json

from slicer.i18n import tr as _

from . import geometry, subject
from .work import ChannelData, EngineError

REFERENCE = "SAMMed.Channel"
NAMES = "SAMMed.ChannelNames"
OWN_NAME = "SAMMed.ChannelName"
FIRST = "first"
"""What the volume itself is called if the user gives it no name."""

ALIGNMENTS = ("auto", "none", "header", "rigid", "deformable")


def listed(volume):
    """(name, volume node) of each channel beside the volume itself; those that are gone are not."""
    if volume is None:
        return []
    found = [(name, volume.GetNodeReference(_role(n))) for n, name in enumerate(_names(volume))]
    return [(name, node) for name, node in found if node is not None]


def gone(volume):
    """Names of channels whose volume was removed from the scene."""
    names = enumerate(_names(volume))
    return [name for n, name in names if volume.GetNodeReference(_role(n)) is None]


def _role(number):
    """The reference of a channel: one role each, so that the others stay if it goes."""
    return f"{REFERENCE}.{number}"


def own_name(volume):
    """What the volume itself is called among its channels."""
    return volume.GetAttribute(OWN_NAME) or FIRST


def problem(volume, node):
    """Why a volume cannot be a channel of another; empty if it can."""
    if node is None:
        return _("Choose another volume of the same person.")
    wrong = subject.problem(node) if node.GetImageData() is not None else _("it is empty")
    if wrong:
        return f"{wrong}."
    name = repr(node.GetName())
    if node is volume:
        return _("{name} is the volume itself.").format(name=name)
    if any(other is node for _name, other in listed(volume)):
        return _("{name} is a channel already.").format(name=name)
    if geometry.grid_of(node, volume) is None:
        words = _("{name} is under a transform that is not linear: harden it first.")
        return words.format(name=name)
    return ""


def add(volume, node):
    """Make a volume a channel of another; its name can be changed."""
    taken = {own_name(volume), *(name for name, _node in listed(volume))}
    plain = name = node.GetName()
    number = 2
    while name in taken:
        name, number = f"{plain} {number}", number + 1
    _keep(volume, [*listed(volume), (name, node)])


def rename(volume, number, name):
    """Give a channel another name; number 0 is the volume itself.

    Raises
    ------
    EngineError
        If it is empty, or another channel has it.
    """
    name, channels = name.strip(), listed(volume)
    names = [own_name(volume), *(known for known, _node in channels)]
    if not name:
        raise EngineError("scene", _("a channel needs a name, such as arterial"))
    if name in names[:number] + names[number + 1 :]:
        words = _("two channels cannot both be called {name}")
        raise EngineError("scene", words.format(name=repr(name)))
    if number == 0:
        volume.SetAttribute(OWN_NAME, name)
    else:
        channels[number - 1] = (name, channels[number - 1][1])
        _keep(volume, channels)


def remove(volume, number):
    """Let a channel go; number 0 is the volume itself, which stays."""
    channels = listed(volume)
    if 1 <= number <= len(channels):
        del channels[number - 1]
        _keep(volume, channels)


def data(volumes, volume):
    """The channels as the worker gets them, each where it lies beside the volume.

    Raises
    ------
    EngineError
        If a channel cannot be one any more.
    """
    found = []
    for name, node in listed(volume):
        if node.GetImageData() is None or geometry.grid_of(node, volume) is None:
            words = _("the channel {name} is empty, or under a transform that is not linear")
            raise EngineError("scene", words.format(name=repr(name)))
        found.append(ChannelData(name, volumes.data(node, volume)))
    return found


def _names(volume):
    try:
        names = json.loads(volume.GetAttribute(NAMES) or "[]")
    except ValueError:
        names = []
    return names if isinstance(names, list) else []


def _keep(volume, channels):
    for number in range(len(_names(volume))):
        volume.RemoveNodeReferenceIDs(_role(number))
    for number, (_name, node) in enumerate(channels):
        volume.SetNodeReferenceID(_role(number), node.GetID())
    volume.SetAttribute(NAMES, json.dumps([name for name, _node in channels]))
