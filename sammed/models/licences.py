"""What the licence of a model's weights says of two uses: in a clinic, in a product.

The answers are what the licence's text allows, no more: no licence makes software a medical device,
and none of these models is approved as one.

A licence that forbids what people may well do with a model is confirmed once on each computer,
before the model is built for the first time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from sammed import folders
from sammed.errors import ModelError, OutputError

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
    to_confirm
        Whether it is to be confirmed before a model is used for the first time.
    """

    clinic: Answer
    product: Answer
    because: str
    to_confirm: bool = False


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
        "ask",
        "no",
        "not primarily for commercial advantage; what is made of it has its licence",
        to_confirm=True,
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


def is_confirmed(name: str, license: str) -> bool:
    """Whether the licence of a model's weights asks for no confirmation, or has it.

    Examples
    --------
    >>> is_confirmed("vit_b", "Apache-2.0")
    True
    """
    return not terms_of(license).to_confirm or _confirmed().get(name, {}).get("licence") == license


def check_confirmed(name: str, license: str) -> None:
    """Make sure that the licence of a model's weights was confirmed, if it asks for it.

    Parameters
    ----------
    name
        Registry name of the model.
    license
        As `ModelEntry.license` gives it.

    Raises
    ------
    ModelError
        If it was not.
    """
    if not is_confirmed(name, license):
        terms = terms_of(license)
        raise ModelError(
            f"the licence of model {name!r}, {license}, was not confirmed on this computer "
            f"({terms.because}; clinic {terms.clinic}, product {terms.product}): read it, then "
            f"run 'sammed models accept {name}'"
        )


def confirm(name: str, license: str) -> None:
    """Note that the user has read the licence of a model's weights and keeps to it.

    Raises
    ------
    OutputError
        If it cannot be noted.
    """
    known = _confirmed() | {name: {"licence": license, "on": date.today().isoformat()}}
    path = _record()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=1))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None


def _record() -> Path:
    return folders.state_folder() / "licences.json"


def _confirmed() -> dict[str, dict[str, str]]:
    try:
        known = json.loads(_record().read_text())
    except (OSError, ValueError):
        return {}
    return (
        {k: v for k, v in known.items() if isinstance(v, dict)} if isinstance(known, dict) else {}
    )
