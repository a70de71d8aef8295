"""The catalogue's entry of learned models: files, not names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import WeightsNotFoundError
from sammed.models.entry import BuildRequest, ModelEntry
from sammed.models.learned.file import SUFFIX, is_learned, read_teaching

if TYPE_CHECKING:
    from sammed.models.learned.model import LearnedModel


def build(request: BuildRequest) -> LearnedModel:
    """Build a learned model.

    Parameters
    ----------
    request
        With its file.

    Raises
    ------
    WeightsNotFoundError
        If no file is given.
    WeightsMismatchError
        If the file is none, was cut or edited, or is of a newer version.
    """
    if request.weights is None:
        raise WeightsNotFoundError(
            f"a learned model is a file; give its path, such as study/study{SUFFIX}, which "
            "'sammed learn study/' writes"
        )
    from sammed.models.learned.model import LearnedModel

    return LearnedModel(request.weights, request.device)


def structures(path: Path) -> Mapping[str, int]:
    """What a learned model's file finds without a prompt; nothing if it is none.

    Parameters
    ----------
    path
        A weights file that is there.
    """
    if not is_learned(path):
        return {}
    return {name: value for value, name in read_teaching(path).plan.structures.items()}


LEARNED = ModelEntry(
    "learned",
    "what 'sammed learn' made of your own cases (a .sammed file); needs no prompt",
    "as the cases that it learned from",
    build,
    recognises=is_learned,
)
