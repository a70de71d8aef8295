"""What a label map says nothing of.

A structure that was added to a project after a case was accepted is not drawn in that case's label
map, and neither is one that the model did not know whose proposal was accepted. To learn that it is
absent there would be wrong; so nothing is learned of it from such a case, nor is the case judged on
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import torch
from torch import Tensor

from sammed.project.case import Record
from sammed.project.description import WHEN, Description

DREW = ("accept", "import", "accept-above")
"""What the history calls events by which a label map came to be accepted."""

NEVER = -1e4
"""Logit of a class that is not asked for."""


def unknown_in(record: Record, described: Description, there: Iterable[int]) -> frozenset[int]:
    """Values of the structures that an accepted label map says nothing of.

    Parameters
    ----------
    record
        Of the case.
    described
        Of the project.
    there
        Values that the label map has.

    Examples
    --------
    >>> described = Description("study", {"liver": 1, "kidney": 2}, since={
    ...     "kidney": "2026-01-02T00:00:00+0000"})
    >>> event = {"what": "accept", "when": "2026-01-01T12:00:00+0100"}
    >>> sorted(unknown_in(Record("accepted", history=(event,)), described, [1]))
    [2]
    """
    accepted = _moment(record.history)
    absent = {n: v for n, v in described.structures.items() if v not in set(there)}
    later = {
        name for name, when in described.since.items()
        if accepted is not None and _parsed(when) >= accepted
    }  # fmt: skip
    unasked = set(absent) - set(record.estimated) if record.estimated else set()
    return frozenset(value for name, value in absent.items() if name in later | unasked)


def _moment(history: Sequence[Mapping[str, Any]]) -> datetime | None:
    """When a label map was accepted; ``None`` if that is not told."""
    drawn = [event for event in history if event.get("what") in DREW]
    return _parsed(str(drawn[-1]["when"])) if drawn and "when" in drawn[-1] else None


def _parsed(when: str) -> datetime:
    return datetime.strptime(when, WHEN)


def without_unknown(logits: Tensor, target: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor]:
    """Answers and what is wanted, with what is unknown counted as background in both.

    The marginal loss of Shi et al. (2021, doi:10.1016/j.media.2021.101979): a network may find an
    unknown structure where the label map has background.

    Parameters
    ----------
    logits, target : (n, classes, ...)
        Of a batch; class 0 is background.
    unknown : (n, classes) bool
        Which classes nobody drew.

    Examples
    --------
    >>> logits = torch.tensor([[[0.0], [1.0], [3.0]]])
    >>> target = torch.tensor([[[1.0], [0.0], [0.0]]])
    >>> unknown = torch.tensor([[False, False, True]])
    >>> found, _ = without_unknown(logits, target, unknown)
    >>> [round(float(share), 2) for share in torch.softmax(found, 1).ravel()]
    [0.89, 0.11, 0.0]
    """
    if not unknown.any():
        return logits, target
    shape = (*unknown.shape, *[1] * (logits.ndim - 2))
    left_out = unknown.reshape(shape)
    ground = unknown.clone()
    ground[:, 0] = True
    among = ground.reshape(shape)
    background = logits.masked_fill(~among, -torch.inf).logsumexp(1, keepdim=True)
    merged = logits.masked_fill(left_out, NEVER)
    wanted = target.masked_fill(left_out, 0.0)
    told = (target * among).sum(1, keepdim=True)
    return torch.cat((background, merged[:, 1:]), 1), torch.cat((told, wanted[:, 1:]), 1)
