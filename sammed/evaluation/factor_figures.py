"""Figures of what Dice depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sammed.evaluation.explaining import Explained, titles_by_strength
from sammed.evaluation.factor_run import FactorsOfRun
from sammed.evaluation.factors import Judged, of_headline
from sammed.evaluation.features import OBJECT_FEATURES, Feature
from sammed.evaluation.figures import COLOURS, Drawing, finish, panels

CURVES = 8
"""Factors whose partial dependence is shown: the strongest under any protocol."""

COEFFICIENTS = (
    "What Dice depends on: the change of its logit by one standard deviation of each factor, all "
    "others being the same; bars: 95 % intervals, subjects resampled. Left of the line: the more, "
    "the worse."
)
DEPENDENCE = (
    "Partial dependence: mean predicted Dice over all objects if all had this value of a factor; "
    "bands: 95 % intervals, subjects resampled. Dots: the objects and their Dice."
)


def coefficient_figure(explained: Mapping[str, Explained]) -> Drawing:
    """Coefficients of all factors with their intervals, protocols in colours."""
    titles = titles_by_strength(explained)
    figure, axes = panels(1, 6.4, 0.9 + 0.30 * len(titles))
    ax = axes[0]
    ax.axvline(0, color="#999999", lw=0.8)
    for offset, (protocol, one) in enumerate(explained.items()):
        colour = COLOURS[offset % len(COLOURS)]
        at = [i for i, name in enumerate(titles) if name in one.seen.names]
        columns = [one.seen.names.index(name) for name in titles if name in one.seen.names]
        y = np.array(at) + (offset - (len(explained) - 1) / 2) * 0.22
        ax.hlines(y, one.low[columns], one.high[columns], color=colour, lw=1.6, alpha=0.6)
        ax.plot(one.model.coefficients[columns], y, "o", ms=4, color=colour, label=protocol)
    ax.set_yticks(range(len(titles)))
    ax.set_yticklabels(titles.values())
    ax.invert_yaxis()
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    return Drawing(COEFFICIENTS, finish(figure, axes, "change of the logit of Dice", None))


def dependence_figure(
    explained: Mapping[str, Explained], found: FactorsOfRun, model: str
) -> Drawing:
    """Curves of partial dependence of the strongest factors, protocols in colours."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    features = {f.name: f for f in OBJECT_FEATURES}
    shown = [name for name in titles_by_strength(explained) if name in features][:CURVES]
    across = min(4, len(shown))
    figure, axes = panels(across, 2.4, 2.3, rows=-(-len(shown) // across))
    for ax in axes[len(shown) :]:
        ax.set_visible(False)
    for ax, name in zip(axes, shown, strict=False):
        for offset, (protocol, one) in enumerate(explained.items()):
            judged = of_headline(found.objects, model, protocol)
            _curve(ax, one, judged, features[name], protocol, COLOURS[offset % len(COLOURS)])
        ax.set_xlabel(features[name].title, fontsize=8)
        if features[name].log:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=9))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.tick_params(axis="x", labelsize=7)
    return Drawing(DEPENDENCE, finish(figure, axes, ""))


def _curve(
    ax: Any, one: Explained, judged: list[Judged], feature: Feature[Judged], name: str, colour: str
) -> None:
    if feature.name not in one.seen.names:
        return
    values = np.array([feature.value(j) for j in judged], float)
    known = np.isfinite(values)
    ax.scatter(values[known], one.seen.dice[known], s=6, color=colour, alpha=0.25, lw=0)
    low, high = np.percentile(values[known], [2, 98])
    if feature.log:
        low = max(low, 1e-3)
        at = np.geomspace(low, max(high, low * 1.01), 25)
    else:
        at = np.linspace(low, high, 25)
    column = one.seen.names.index(feature.name)
    mean, lower, upper = one.dependence(column, [feature.scale(float(v)) for v in at])
    ax.plot(at, mean, color=colour, lw=1.8, label=name)
    ax.fill_between(at, lower, upper, color=colour, alpha=0.15, lw=0)
