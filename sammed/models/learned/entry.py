"""The catalogue's entry of learned models: files, not names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sammed.errors import WeightsNotFoundError
from sammed.models.entry import BuildRequest, ModelEntry
from sammed.models.learned.file import SUFFIX, Teaching, is_learned, read_teaching
from sammed.models.sam.parent import Parent, is_sam

if TYPE_CHECKING:
    from sammed.models.learned.model import LearnedModel


def build(request: BuildRequest, *, prompts_only: bool = False) -> LearnedModel:
    """Build a learned model.

    Parameters
    ----------
    request
        With its file.
    prompts_only
        Whether nothing is to be found by its name.

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

    return LearnedModel(request.weights, request.device, prompts_only=prompts_only)


def structures(path: Path) -> Mapping[str, int]:
    """What a learned model's file finds without a prompt; nothing if it is none.

    Parameters
    ----------
    path
        A weights file that is there.
    """
    if not is_learned(path):
        return {}
    teaching = read_teaching(path)
    if not is_sam(teaching.tuned):  # whose checkpoint is asked for where there is a prompt
        _check_parents(path, teaching)
    return teaching.structures


def answers_prompts(path: Path) -> bool:
    """Whether a learned model's file holds what tunes a promptable model, and that is here.

    Parameters
    ----------
    path
        A learned model's file that is there.

    Raises
    ------
    WeightsNotFoundError
        If the checkpoint of segment-anything's that it was tuned from is not here.
    WeightsMismatchError
        If it was cut or edited, is of a newer version, or tuned from other weights.
    """
    teaching = read_teaching(path)
    _check_parents(path, teaching)
    return bool(teaching.tuned)


def _check_parents(path: Path, teaching: Teaching) -> None:
    """Make sure that what was tuned is here: the compact of this package, or a checkpoint."""
    if is_sam(teaching.tuned):
        Parent.from_dict(teaching.tuned).checkpoint(path)
    elif teaching.tuned:
        from sammed.models.compact.tuned import check_parents

        check_parents(path, teaching.tuned["parents"])


LEARNED = ModelEntry(
    "learned",
    "what 'sammed learn' made of your own cases (a .sammed file)",
    "as the cases that it learned from",
    build,
    options=("prompts_only",),
    recognises=is_learned,
)
