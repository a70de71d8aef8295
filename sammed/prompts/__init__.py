"""Prompts: what is said about an object, as values, as text, in files, and simulated."""

from __future__ import annotations

from sammed.prompts.interactions import (
    BoxPrompt,
    Interaction,
    LassoPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
)
from sammed.prompts.objects import (
    PROPAGATE,
    ObjectPrompts,
    PromptSet,
    Propagate,
    merge,
    with_labels,
    with_object,
)

__all__ = [
    "PROPAGATE",
    "BoxPrompt",
    "Interaction",
    "LassoPrompt",
    "MaskPrompt",
    "ObjectPrompts",
    "PointPrompt",
    "PromptSet",
    "Propagate",
    "ScribblePrompt",
    "merge",
    "with_labels",
    "with_object",
]
