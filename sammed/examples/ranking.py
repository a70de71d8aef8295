"""Which examples are most like the new scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sammed.errors import InputError
from sammed.examples.carrying import Laid, Target, lay
from sammed.examples.library import Example
from sammed.imaging import registration as reg

MOST = 5
"""Examples that are used; of hippocampi one had 0.79, five 0.85."""

AFFINE_OF = 20
"""Of a larger library so many, the most alike after a shift alone, are laid on more exactly."""

LEAST_SIMILARITY = 0.15
"""Correlation of the images after they were laid on each other, below which an example is taken for
something else."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """An example, laid onto the scan."""

    example: Example
    laid: Laid


def rank(
    target: Target,
    examples: Sequence[Example],
    most: int = MOST,
    check: Callable[[], None] | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Ranked]:
    """The examples that are most like a scan, the best first.

    Parameters
    ----------
    target
        The scan.
    examples
        Any number.
    most
        So many at most.
    check
        Called often; may raise.
    done
        Called once an example was laid onto the scan, for each of up to `AFFINE_OF`.

    Raises
    ------
    InputError
        If none can be laid onto it.
    """
    rough = list(examples)
    if len(rough) > AFFINE_OF:
        scores = [_shifted(target, one, check) for one in rough]
        order = sorted(range(len(rough)), key=lambda i: -scores[i])
        rough = [rough[i] for i in order[:AFFINE_OF]]
    found = []
    for one in rough:
        found.append(Ranked(one, lay(target, one.read[0], check)))
        done()
    found.sort(key=lambda one: -one.laid.similarity)
    fit = [one for one in found if one.laid.similarity >= LEAST_SIMILARITY]
    if not fit:
        best = found[0]
        raise InputError(
            f"example {best.example.id} looks like {reg.name_of(target.volume)} nowhere "
            f"(correlation {best.laid.similarity:.2f}, expected {LEAST_SIMILARITY:g}): another "
            "part of the body or kind of image, or no overlap; give another example, or a prompt"
        )
    return fit[:most]


def _shifted(target: Target, example: Example, check: Callable[[], None] | None) -> float:
    if check:
        check()
    return reg.coarse(target.grey, reg.grey(example.read[0])).similarity
