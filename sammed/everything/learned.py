"""What the dense network says of an image on its coarse grid: where the borders of things are."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from sammed.everything.coarse import Coarse
from sammed.models.dense.borders import WEIGHTS, Borders, DenseReader, load_dense


def learned_borders(
    coarse: Coarse, check: Callable[[], None], reader: DenseReader | None = None
) -> Borders | None:
    """What the dense network sees of a volume; of pictures, which it does not know, ``None``.

    Of a CT it sees the window of soft tissue alone: with the wide one beside it, fewer organs were
    regions of its borders (research/30-everything.md).

    Parameters
    ----------
    coarse
        The image.
    check
        Called before each pass; may raise to stop.
    reader
        The network; ``None``: the shipped one.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        If the network's weights are not whole.
    """
    if coarse.is_flat:
        return None
    return (reader or _shipped()).read(coarse.image[0], coarse.spacing, check)


@lru_cache(maxsize=1)
def _shipped() -> DenseReader:
    return DenseReader(load_dense(WEIGHTS)[0])
