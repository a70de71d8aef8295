"""What the licence of a model's weights says of two uses: in a clinic, in a product.

The answers are what the licence's text allows, no more: no licence makes software a medical device,
and none of these models is approved as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Answer = Literal["yes", "no", "ask", "unknown"]


@dataclass(frozen=True)
class Terms:
    """What a licence says.

    Attributes
    ----------
    clinic
        Whether the weights may be used where patients are treated: ``"ask"`` where the text leaves
        it open, ``"unknown"`` where there is no text.
    product
        Whether they may be part of something that is sold.
    because
        What the text says, in a few words.
    """

    clinic: Answer
    product: Answer
    because: str


UNKNOWN = Terms("unknown", "unknown", "no licence is known: ask whoever made the weights")

_TERMS = {
    "Apache-2.0": Terms("yes", "yes", "any use; licence and notices go along with copies"),
    "MIT": Terms("yes", "yes", "any use; the notice goes along with copies"),
    "CC-BY-4.0": Terms("yes", "yes", "any use; its makers are named"),
    "CC-BY-SA-4.0, for research and education only": Terms(
        "no",
        "no",
        "its page gives CC BY-SA 4.0 and says 'research and education' only: the stricter counts",
    ),
    "CC-BY-NC-SA-4.0": Terms(
        "ask", "no", "not primarily for commercial advantage; what is made of it has its licence"
    ),
}


def terms_of(license: str) -> Terms:
    """What a licence says, by its name as `ModelEntry.license` gives it.

    Examples
    --------
    >>> terms_of("Apache-2.0").product
    'yes'
    >>> terms_of("a colleague said it was fine").clinic
    'unknown'
    """
    return _TERMS.get(license, UNKNOWN)
