"""Plots of a report, each as SVG text; needs matplotlib (the extra ``plots``)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from sammed.errors import BackendUnavailableError
from sammed.evaluation.reliability import headlines
from sammed.evaluation.slice_scores import SliceScore
from sammed.evaluation.statistics import object_means
from sammed.evaluation.tables import Group, Results
from sammed.models.catalogue import BASELINES

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's palette, told apart by the colour-blind; models take them in turn."""

BASELINE_STYLES = (("#8a8a8a", ":"), ("#8a8a8a", "--"), ("#5a5a5a", "-."))

POSITION_BINS = 10
SIZE_BINS = 8
RELIABILITY_BINS = 10

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "path",
    "svg.hashsalt": "sammed",
}


def require_matplotlib() -> None:
    """Make sure that plots can be drawn, before anything is computed.

    Raises
    ------
    BackendUnavailableError
        If matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise BackendUnavailableError(
            "the report's plots need matplotlib, which is not installed; "
            "run: pip install 'sammed[plots]'"
        ) from None


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG text, with what it shows; a narrow one may stand beside another."""

    caption: str
    svg: str
    narrow: bool = False


class Palette:
    """One colour and line style for each model, the same in all figures."""

    def __init__(self, models: Sequence[str]) -> None:
        colours, baselines = cycle(COLOURS), cycle(BASELINE_STYLES)
        self._styles: dict[str, dict[str, Any]] = {}
        for model in models:
            if model in BASELINES:
                colour, dash = next(baselines)
                self._styles[model] = {"color": colour, "linestyle": dash, "linewidth": 1.2}
            else:
                self._styles[model] = {"color": next(colours), "linewidth": 2.0}

    def __getitem__(self, model: str) -> dict[str, Any]:
        return self._styles[model]

    def colour(self, model: str) -> str:
        """The model's colour alone."""
        return str(self._styles[model]["color"])


def draw(results: Results) -> list[Drawing]:
    """All figures that the run has data for."""
    require_matplotlib()
    palette = Palette(results.models)
    drawn = []
    for protocol, caption in (("A", "jitter"), ("C", "clicks"), ("P", "points")):
        steps = {(g.variant, g.step) for g in results.of(protocol)}
        if len(steps) > 1:
            svg = _ladder(results, palette, protocol)
            drawn.append(Drawing(_CAPTIONS[caption], svg, narrow=True))
    whole = [p for p in results.protocols if p != "D"]
    if whole:
        drawn.append(Drawing(_CAPTIONS["position"], _position(results, palette, whole)))
        drawn.append(Drawing(_CAPTIONS["size"], _size(results, palette, whole)))
        drawn.append(Drawing(_CAPTIONS["area"], _areas(results, palette, whole)))
    if headlines(results):
        drawn.append(Drawing(_CAPTIONS["reliability"], _reliability(results, palette)))
    return drawn


_CAPTIONS = {
    "jitter": "Dice against jitter of the boxes (protocol A). Bands: 95 % confidence interval.",
    "clicks": "Dice against the number of corrective clicks after one 3D box (protocol C). "
    "Baselines take no clicks: their line is the start. Bands: 95 % confidence interval.",
    "points": "Dice against the number of points on each slice (protocol P). "
    "Bands: 95 % confidence interval.",
    "position": "Dice of single slices against their relative position in the object: 0 and 1 are "
    "its first and last slice. Mean over all slices of all objects in ten equal parts. Crosses "
    "beyond the ends: share of objects whose prediction runs on past that end.",
    "size": "Dice against the volume of the object. One dot an object; lines: running median.",
    "area": "Dice by area of the body: one dot an object, the bar is the mean over cases.",
    "reliability": "True against predicted IoU of single slices: means of ten equal parts of all "
    "slices, in order of predicted IoU. Bands: middle half. On the grey line a model is right.",
}


@dataclass(frozen=True)
class Curve:
    """A line of a figure: its name, where it goes, and the band round it, if there is one."""

    name: str
    at: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def curves(lines: Sequence[Curve], x_name: str, y_name: str) -> str:
    """Some lines in one figure, as SVG text.

    Parameters
    ----------
    lines
        At least one point each.
    x_name, y_name
        Of the axes.
    """
    require_matplotlib()
    palette = Palette([line.name for line in lines])
    figure, axes = panels(1, 5.2, 3.2)
    for line in lines:
        axes[0].plot(
            line.at, line.values, label=line.name, marker="o", markersize=3.5, **palette[line.name]
        )
        if line.low:
            colour = palette.colour(line.name)
            axes[0].fill_between(line.at, line.low, line.high, color=colour, alpha=0.13, lw=0)
    axes[0].set_ylabel(y_name)
    return finish(figure, axes, x_name, None)


def _ladder(results: Results, palette: Palette, protocol: str) -> str:
    figure, axes = panels(1, 5.2, 3.2)
    for model in results.models:
        groups = results.of(protocol, model)
        if not groups:
            continue
        means = [g.mean("dice") for g in groups]
        middle = [m.mean for m in means]
        if len(groups) == 1:
            axes[0].axhline(middle[0], label=model, **palette[model])
            continue
        at = [_abscissa(g, i) for i, g in enumerate(groups)]
        axes[0].plot(at, middle, label=model, marker="o", markersize=3.5, **palette[model])
        if model not in BASELINES:
            low, high = [m.low for m in means], [m.high for m in means]
            axes[0].fill_between(at, low, high, color=palette.colour(model), alpha=0.13, lw=0)
    longest = max((results.of(protocol, m) for m in results.models), key=len)
    axes[0].set_xticks([_abscissa(g, i) for i, g in enumerate(longest)])
    axes[0].set_xticklabels([_tick(g) for g in longest])
    names = {
        "A": "jitter (share of the box's side)",
        "C": "corrective clicks",
        "P": "points on each slice",
    }
    return finish(figure, axes, names[protocol])


def _abscissa(group: Group, position: int) -> float:
    return float(group.step) if group.protocol == "C" else float(position)


def _tick(group: Group) -> str:
    return str(group.step) if group.protocol == "C" else group.variant.split()[1]


def _position(results: Results, palette: Palette, protocols: Sequence[str]) -> str:
    figure, axes = panels(len(protocols), 3.0, 2.9)
    edges = np.linspace(0, 1, POSITION_BINS + 1)
    for ax, protocol in zip(axes, protocols, strict=True):
        for model in results.models:
            profiles = _profiles(results, protocol, model)
            if not profiles:
                continue
            table = np.array([line for profile in profiles for line in profile])
            inside = table[table[:, 1] > 0]
            dice = 2 * inside[:, 3] / (inside[:, 1] + inside[:, 2])
            which = np.clip(np.digitize(inside[:, 0], edges) - 1, 0, POSITION_BINS - 1)
            there = [i for i in range(POSITION_BINS) if (which == i).any()]
            middle = [(edges[i] + edges[i + 1]) / 2 for i in there]
            means = [dice[which == i].mean() for i in there]
            ax.plot(middle, means, label=model, **palette[model])
            for x, past in zip((-0.08, 1.08), _overshoot(profiles), strict=True):
                ax.plot([x], [past], marker="x", markersize=5, color=palette.colour(model))
        ax.set_title(results.headline_name(protocol), fontsize=9)
        ax.set_xlim(-0.14, 1.14)
        ax.set_xticks([0, 0.5, 1])
    return finish(figure, axes, "relative slice position")


def _profiles(results: Results, protocol: str, model: str) -> list[list[list[float]]]:
    parts = [p for p in results.parts if (p.protocol, p.model) == (protocol, model)]
    profiles = [profile for part in parts for profile in part.profiles.values()]
    return [p for p in profiles if sum(line[1] > 0 for line in p) > 1]


def _overshoot(profiles: Iterable[list[list[float]]]) -> tuple[float, float]:
    """Share of objects with predicted voxels before the first and after the last slice."""
    profiles = list(profiles)
    before = [any(line[0] < 0 and line[2] > 0 for line in p) for p in profiles]
    after = [any(line[0] > 1 and line[2] > 0 for line in p) for p in profiles]
    return float(np.mean(before)), float(np.mean(after))


def _size(results: Results, palette: Palette, protocols: Sequence[str]) -> str:
    figure, axes = panels(len(protocols), 3.0, 2.9)
    shown = _shown(results)
    for ax, protocol in zip(axes, protocols, strict=True):
        for model in results.models:
            group = results.headline(protocol, model)
            if group is None:
                continue
            dice = object_means(group.rows, "dice")
            ml = object_means(group.rows, "reference_ml")
            keys = [k for k in dice if np.isfinite(dice[k]) and ml[k] > 0]
            x, y = np.array([ml[k] for k in keys]), np.array([dice[k] for k in keys])
            if model in shown:
                ax.scatter(x, y, s=9, color=palette.colour(model), alpha=0.45, lw=0)
            at, median = _running_median(x, y)
            ax.plot(at, median, label=model, **palette[model])
        ax.set_xscale("log")
        ax.set_title(results.headline_name(protocol), fontsize=9)
    return finish(figure, axes, "reference volume (ml)")


def _shown(results: Results) -> list[str]:
    """Models whose single objects are shown: those that are no baselines; the first if all are."""
    return [m for m in results.models if m not in BASELINES] or list(results.models[:1])


def _running_median(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Medians of groups of equal numbers of objects, in order of size."""
    order = np.argsort(x)
    groups = [g for g in np.array_split(order, min(SIZE_BINS, max(len(x) // 4, 1))) if len(g)]
    middle = [float(np.exp(np.log(x[g]).mean())) for g in groups]
    return middle, [float(np.median(y[g])) for g in groups]


def _areas(results: Results, palette: Palette, protocols: Sequence[str]) -> str:
    areas = list(dict.fromkeys(row.area or "all" for row in results.rows))
    shown = _shown(results)
    height = 1.0 + 0.24 * len(areas) * max(len(shown), 1)
    figure, axes = panels(len(protocols), 3.0, max(height, 2.2))
    for ax, protocol in zip(axes, protocols, strict=True):
        for offset, model in enumerate(shown):
            group = results.headline(protocol, model)
            if group is None:
                continue
            for i, area in enumerate(areas):
                rows = [r for r in group.rows if (r.area or "all") == area and r.scored]
                values = list(object_means(rows, "dice").values())
                y = i + (offset - (len(shown) - 1) / 2) * 0.26
                ax.scatter(
                    values, [y] * len(values), s=10, alpha=0.45, lw=0, color=palette.colour(model)
                )
                if values:
                    mean = Group(model, protocol, "", 0, tuple(rows)).mean("dice").mean
                    ax.plot([mean, mean], [y - 0.11, y + 0.11], color=palette.colour(model), lw=2)
            ax.plot([], [], label=model, color=palette.colour(model), lw=2)
        ax.set_yticks(range(len(areas)))
        ax.set_yticklabels(areas)
        ax.set_xlim(-0.02, 1.02)
        ax.grid(True, axis="x")
        ax.grid(False, axis="y")
        ax.set_title(results.headline_name(protocol), fontsize=9)
    axes[0].invert_yaxis()
    return finish(figure, axes, "Dice", None)


def _reliability(results: Results, palette: Palette) -> str:
    """Calibration curves; a dot for each slice would make the report too large."""
    shown = headlines(results)
    protocols = list(dict.fromkeys(group.protocol for group, _ in shown))
    figure, axes = panels(len(protocols), 3.0, 2.9)
    for ax, protocol in zip(axes, protocols, strict=True):
        ax.plot([0, 1], [0, 1], color="#bbbbbb", lw=1)
        for group, scores in shown:
            if group.protocol == protocol:
                _calibration(ax, scores, group.model, palette)
        ax.set_title(results.headline_name(protocol), fontsize=9)
        ax.set_xlim(-0.02, 1.02)
    return finish(figure, axes, "predicted IoU", "true IoU")


def _calibration(ax: Any, scores: Sequence[SliceScore], model: str, palette: Palette) -> None:
    ordered = sorted(scores, key=lambda s: s.predicted_iou)
    parts = np.array_split(np.arange(len(ordered)), min(RELIABILITY_BINS, len(ordered)))
    bins = [[ordered[i] for i in part] for part in parts]
    at = [np.mean([s.predicted_iou for s in part]) for part in bins]
    true = [[s.true_iou for s in part] for part in bins]
    ax.plot(at, list(map(np.mean, true)), label=model, marker="o", markersize=3, **palette[model])
    low, high = zip(*(np.percentile(part, [25, 75]) for part in true), strict=True)
    ax.fill_between(at, low, high, color=palette.colour(model), alpha=0.13, lw=0)


def panels(count: int, width: float, height: float, rows: int = 1) -> tuple[Any, list[Any]]:
    """A figure of so many panels, in inches each, that share what is on their ordinates."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        size = width * count + 0.4, height * rows
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, count, sharey=True, squeeze=False)
    return figure, list(axes.ravel())


def finish(figure: Any, axes: list[Any], x_name: str, y_name: str | None = "Dice") -> str:
    """A figure with its legend and the names of its axes, as SVG text."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        if y_name:
            axes[0].set_ylabel(y_name)
            axes[0].set_ylim(-0.02, 1.02)
        figure.supxlabel(x_name, fontsize=9)
        named: dict[str, Any] = {}
        for ax in axes:
            handles, labels = ax.get_legend_handles_labels()
            named.update(zip(labels, handles, strict=True))
        figure.legend(named.values(), named.keys(), loc="outside right upper", handlelength=2.2)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]
