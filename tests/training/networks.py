"""Networks, and recipes of runs, that are small enough for a test."""

from __future__ import annotations

import torch

from sammed.models.compact.net import Architecture, CompactNet
from sammed.training.checkpoint import export_weights
from sammed.training.stream import StreamPlan
from sammed.training.trainer import Recipe

TINY = Architecture((8, 8, 16, 16), (1, 1, 1, 1), (1, 1, 1), 4, 3)
PLAN = StreamPlan(seed=3, batch=4, chunk=16, window=2, replay=1.0)
RECIPE = Recipe(
    minutes=60, steps=4, seed=3, stream=PLAN, architecture=TINY, clicks=0.5, bfloat16=False
)


class InlineStream:
    """What `sammed.training.stream.Stream` gives, without the process that is slow to start."""

    def __init__(self, plan, start, source):
        self._batches = source(plan, start)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def next(self):
        return next(self._batches)


def losses(trainer):
    return [row["loss"] for row in trainer.history]


def exported(path, seed, architecture=TINY):
    torch.manual_seed(seed)
    export_weights(path, CompactNet(architecture).state_dict(), architecture.tag)
    return str(path)
