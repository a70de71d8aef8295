"""The module's parameters, saved with the scene.

The class is made when it is first needed: it names classes of other modules, which may be loaded
after this one is imported. Its annotations are looked at by Slicer, so they are no strings.
"""

import functools
import types

import slicer

from . import prompts


def free(**chosen):
    """The same, bound to no scene and no panel: for scripts."""
    return types.SimpleNamespace(
        **{
            "volume": None,
            "segmentation": None,
            "segmentID": "",
            "boxMeaning": prompts.SLICE,
            "plane": "auto",
            "window": "",
            "model": "compact",
            "device": "auto",
            "overlap": "allow",
            "autoUpdate": False,
            "align": "auto",
            **chosen,
        }
    )


def of(node):
    """The parameters of a parameter node."""
    return _kind()(node)


@functools.lru_cache(maxsize=1)
def _kind():
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    @parameterNodeWrapper
    class SAMMedParameterNode:
        """What is chosen in the panel."""

        volume: slicer.vtkMRMLScalarVolumeNode
        segmentation: slicer.vtkMRMLSegmentationNode
        segmentID: str = ""
        boxMeaning: str = prompts.SLICE
        plane: str = "auto"
        window: str = ""
        model: str = "compact"
        device: str = "auto"
        overlap: str = "allow"
        autoUpdate: bool = False
        align: str = "auto"

    return SAMMedParameterNode
