"""How many of known things are among candidates, before any model is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sammed.everything.candidates import LARGEST, Found, Sizes, find_candidates
from sammed.everything.coarse import Coarse
from sammed.everything.regions import Region
from sammed.everything.things import ASKED, LEAST_COARSE, LEAST_SHARE, LEAST_SHARE_FLAT
from sammed.models.dense.borders import Borders

WITHIN = (20, 100, 300)
"""So many of the candidates, best first."""

FOUND = 0.5
"""IoU from which on a thing is found."""


def best_ious(
    coarse: Coarse,
    area: NDArray[np.bool_],
    references: Sequence[Region],
    borders: Borders | None,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.float64]:
    """Best IoU of each reference with a candidate: of all regions taken out, of the first ones.

    Parameters
    ----------
    coarse
        The image.
    area : (z, y, x) bool
        Where things are looked for.
    references
        On the coarse grid.
    borders
        What the dense network sees; ``None``: candidates of the image alone.
    check
        May raise to stop.

    Returns
    -------
    (n, 1 + len(WITHIN))
    """
    found = unasked(coarse, area, borders, check)
    return np.stack([_best(found, reference) for reference in references])


def unasked(
    coarse: Coarse,
    area: NDArray[np.bool_],
    borders: Borders | None,
    check: Callable[[], None] = lambda: None,
) -> Found:
    """Candidates of the usual sizes, as many as a model would be asked about in a volume."""
    return find_candidates(coarse, area, usual_sizes(coarse, area), ASKED, check, borders)


def usual_sizes(coarse: Coarse, area: NDArray[np.bool_]) -> Sizes:
    """Sizes of things, if nothing else is said."""
    inside = float(np.count_nonzero(area))
    share = LEAST_SHARE_FLAT if coarse.is_flat else LEAST_SHARE
    return Sizes(max(LEAST_COARSE, share * inside), LARGEST * inside)


def _best(found: Found, reference: Region) -> NDArray[np.float64]:
    chosen = np.array([c.region.iou(reference) for c in found.candidates])
    pool = max((region.iou(reference) for region in found.pool), default=0.0)
    return np.array([pool, *(chosen[:n].max(initial=0.0) for n in WITHIN)])


def recall_table(of: dict[str, NDArray[np.float64]]) -> str:
    """A line for each source of candidates, as Markdown.

    Parameters
    ----------
    of
        Source → from `best_ious`, of all references.

    Examples
    --------
    >>> print(recall_table({"image": np.array([[0.9, 0.2, 0.7, 0.7], [0.6, 0.1, 0.3, 0.4]])}))
    | candidates of | things | all taken out | first 20 | first 100 | first 300 |
    |---|---|---|---|---|---|
    | image | 2 | 1.00 | 0.00 | 0.50 | 0.50 |
    """
    heads = ["candidates of", "things", "all taken out", *(f"first {n}" for n in WITHIN)]
    lines = [heads, ["---"] * len(heads)]
    for name, best in of.items():
        shares = (best >= FOUND).mean(0)
        lines.append([name, str(len(best)), *(f"{share:.2f}" for share in shares)])
    texts = [" | ".join(line) for line in lines]
    texts[1] = "|".join(lines[1])
    return "\n".join(f"|{t}|" if n == 1 else f"| {t} |" for n, t in enumerate(texts))
