"""How `sammed.everything.likely` learns which regions are things: from scenes that are known whole.

Of every region that the search takes out of a synthetic scene it is known how well it fits a thing.
Scenes of every kind count the same, and of these each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from sammed.everything.candidates import agreed, measures, overlaps, pooled
from sammed.everything.learned import learned_borders
from sammed.everything.likely import MEASURES, Likely
from sammed.everything.recall import usual_sizes
from sammed.everything.regions import Region
from sammed.io.output import atomic_text, check_output
from sammed.models.dense.borders import DenseReader, load_dense
from sammed.synthesis.dense_scenes import make_dense_scene
from sammed.synthesis.source import Source
from sammed.training.dense_recall import LEAST_VOXELS, as_coarse

HIDDEN = 8
"""Units of the network."""

SURE = (0.3, 0.7)
"""IoU with a thing up to which a region is none, and from which on it is one; between them partly:
an order is wanted that brings the better of two similar regions first."""

STEPS, BATCH, RATE, DECAY = 600, 4096, 1e-2, 1e-4

Told = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of one scene.

    Attributes
    ----------
    measures : (n, len(MEASURES)) float32
        See `sammed.everything.likely`.
    fit : (n,) float32
        Best IoU with a thing.
    drawn
        Whether the scene is a drawn trunk.
    """

    measures: NDArray[np.float32]
    fit: NDArray[np.float32]
    drawn: bool


def regions_of(seed: tuple[int, ...], source: Source, reader: DenseReader) -> Regions | None:
    """The regions of a scene; ``None`` if it holds nothing.

    Parameters
    ----------
    seed
        Of the scene.
    source
        Where label maps come from, if there are any.
    reader
        The dense network.
    """
    scene = make_dense_scene(seed, source)
    things = [Region.of(mask) for mask in scene.objects(LEAST_VOXELS)]
    coarse, area = as_coarse(scene), np.ones(scene.image.shape, bool)
    borders = learned_borders(coarse, _go_on, reader)
    pool, _ = pooled(coarse, area, usual_sizes(coarse, area), _go_on, borders)
    if not things or not pool:
        return None
    shared = overlaps([one.region for one in pool], coarse.shape, _go_on)
    stability = agreed(shared, [one.source for one in pool])
    told = measures(pool, shared, stability, borders, _go_on)
    fit = [max(one.region.iou(thing) for thing in things) for one in pool]
    return Regions(told.astype(np.float32), np.array(fit, np.float32), scene.kind is not None)


def _go_on() -> None:
    return None


def fitted(scenes: Sequence[Regions], seed: int = 0) -> Likely:
    """The network that tells best which of these regions are things.

    Parameters
    ----------
    scenes
        At least one.
    seed
        Of its first weights, and of what it is shown.
    """
    told = np.concatenate([one.measures for one in scenes]).astype(np.float64)
    fit = np.concatenate([one.fit for one in scenes])
    share = _shares(scenes)
    mean, deviation = told.mean(0), told.std(0) + 1e-6
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, last = nn.Linear(len(MEASURES), HIDDEN), nn.Linear(HIDDEN, 1)
    net = nn.Sequential(first, nn.Tanh(), last)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    shown = torch.from_numpy(((told - mean) / deviation).astype(np.float32))
    low, high = SURE
    wanted = torch.from_numpy(((fit - low) / (high - low)).clip(0, 1))
    for _ in range(STEPS):
        some = torch.from_numpy(rng.choice(len(fit), min(BATCH, len(fit)), p=share))
        loss = functional.binary_cross_entropy_with_logits(net(shown[some])[:, 0], wanted[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    hidden, out = (
        torch.cat([one.weight, one.bias[:, None]], 1).detach().double().numpy()
        for one in (first, last)
    )
    return Likely(mean, deviation, hidden, out[0])


def _shares(scenes: Sequence[Regions]) -> NDArray[np.float64]:
    """Chance of each region to be shown: both kinds of scenes alike, in each every scene."""
    kinds = [one.drawn for one in scenes]
    each = [1 / (kinds.count(one.drawn) * len(one.fit)) for one in scenes]
    shares = np.repeat(each, [len(one.fit) for one in scenes])
    return np.asarray(shares / shares.sum())


def train_likely(
    out: Path,
    scenes: int,
    source: Source,
    seed: int = 0,
    force: bool = False,
    told: Told = lambda done, total: None,
) -> dict[str, Any]:
    """Learn from some scenes and write the network; a fifth of them only says how well.

    Parameters
    ----------
    out
        The ``.json`` file to write.
    scenes
        How many, at least five.
    source
        Where label maps come from.
    seed
        Of the scenes.
    force
        Overwrite a file.
    told
        Told how many scenes are done.

    Returns
    -------
    dict
        ``regions``, ``scenes``, and ``order``: the chance that of two regions of a scene that was
        held back, one a thing and one none, the former comes first.
    """
    check_output(out, force)
    reader = DenseReader(load_dense(None)[0])
    found: list[Regions] = []
    for number in range(scenes):
        told(number, scenes)
        one = regions_of((77, seed, number), replace(source, held_back=False), reader)
        found += [one] if one is not None else []
    held, kept = found[::5], [one for n, one in enumerate(found) if n % 5]
    judge = fitted(kept, seed)
    order = float(np.mean([_order(judge, one) for one in held]))
    atomic_text(out, json.dumps(fitted(found, seed).as_dict()) + "\n", force=force)
    return {"scenes": len(found), "regions": sum(len(one.fit) for one in found), "order": order}


def _order(judge: Likely, one: Regions) -> float:
    """Area under the curve: things (IoU of a half or more) before all others."""
    rank = np.argsort(np.argsort(judge(one.measures.astype(np.float64))))
    thing = one.fit >= 0.5
    many, few = int(thing.sum()), int((~thing).sum())
    if not many or not few:
        return 0.5
    return float((rank[thing].sum() - many * (many - 1) / 2) / (many * few))
