"""Prompts: what is said about an object, as values, as text, in files, and simulated."""

from __future__ import annotations

from sammed.prompts.objects import (
    PROPAGATE,
    BoxPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PromptSet,
    Propagate,
    merge,
    with_labels,
)

__all__ = [
    "PROPAGATE",
    "BoxPrompt",
    "MaskPrompt",
    "ObjectPrompts",
    "PointPrompt",
    "PromptSet",
    "Propagate",
    "merge",
    "with_labels",
]
