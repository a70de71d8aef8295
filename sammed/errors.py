"""Everything sammed raises on purpose.

A message says in one line what was wrong, what was found, what was expected, what to do.
Each class carries the exit code with which the command line answers.
"""

from __future__ import annotations


class SammedError(Exception):
    """Base of all errors that a user can cause or mend."""

    exit_code = 1


class SammedWarning(UserWarning):
    """A recoverable fact that the user should know, with the decision that was taken."""


class InputError(SammedError):
    """The user's file or option is not usable."""


class UnreadableFileError(InputError):
    """The file is missing, empty, truncated or not what its name says."""


class UnsupportedFormatError(InputError):
    """The file is sound, but of a kind that is not handled."""


class OutputError(InputError):
    """The output cannot be written: it exists, its folder does not, or the disk is full."""


class FrameError(InputError):
    """A file holds several frames, and none is chosen, or one that is not there.

    Attributes
    ----------
    count
        How many there are.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class PromptError(InputError, ValueError):
    """A prompt is empty, inverted, outside the volume, or contradicts another."""


class LabelError(InputError, ValueError):
    """Label values clash, are unknown, or are not whole numbers in 1..65535."""


class WindowError(InputError, ValueError):
    """An intensity window cannot be read or is empty."""


class GeometryError(SammedError):
    """Spatial information is missing or contradicts itself."""


class IrregularSpacingError(GeometryError):
    """Slices are missing, duplicated or unevenly spaced."""


class GantryTiltError(GeometryError):
    """The stack of slices is sheared."""


class OrientationError(GeometryError):
    """The orientation is missing, mixed within a series, or not orthogonal."""


class GridMismatchError(GeometryError, ValueError):
    """Two images that must share a grid do not."""


class ModelError(SammedError):
    """The model cannot be used."""

    exit_code = 3


class WeightsNotFoundError(ModelError):
    """No weights at hand; the message names the command that brings them."""


class WeightsMismatchError(ModelError):
    """The weights file is truncated, foreign, or made for another architecture."""


class BackendUnavailableError(ModelError):
    """An optional package or device is missing; the message says how to get it."""


class SegmentationError(SammedError):
    """The engine found no object where the prompt said that there is one."""

    exit_code = 4


class EvaluationError(SammedError):
    """Nothing to evaluate: no matching cases, or labels that no reference contains."""


class PartlyFailedError(SammedError):
    """Of many scans some have failed and the others are finished."""

    exit_code = 5


class Cancelled(SammedError):  # noqa: N818 - it is the user's wish, not an error
    """The user stopped the work; nothing was changed."""

    exit_code = 130
