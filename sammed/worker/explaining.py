"""Other scans that a client names to explain the one in hand: ``explain`` in ``settings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sammed.worker.messages import Fields, RequestError

if TYPE_CHECKING:
    from sammed.imaging.volume import Volume
    from sammed.models.protocols import Model
    from sammed.session import Session

_KNOWN = ("examples", "objects", "mirror", "prior", "days")


def read_explain(fields: Fields) -> dict[str, Any] | None:
    """The part ``explain`` of a request, checked; ``None`` if there is none.

    Raises
    ------
    RequestError
        If it cannot be understood.
    """
    if "explain" not in fields:
        return None
    part = fields.part("explain")
    for name in part.values:
        if name not in _KNOWN:
            raise RequestError(
                "bad_request", f"{part.where}: no field {name!r}; expected {', '.join(_KNOWN)}"
            )
    examples, prior = part.texts("examples"), part.text("prior", "")
    if bool(examples) == bool(prior):
        raise RequestError(
            "bad_request",
            f"{part.where}: expected either 'examples' (folders, or texts IMAGE,LABELS) or 'prior' "
            "(a text IMAGE,LABELS)",
        )
    days = part.values.get("days", 0)
    if type(days) not in (int, float) or days < 0:
        raise RequestError("bad_request", f"{part.where}: 'days' must be a number from 0")
    return {
        "examples": examples,
        "objects": part.texts("objects"),
        "mirror": part.flag("mirror", False),
        "prior": prior,
        "days": float(days),
    }


def explained(model: Model, volume: Volume, explain: Mapping[str, Any] | None) -> Model:
    """The model, or what other scans make of it.

    Parameters
    ----------
    model
        Answers prompts.
    volume
        The scan in hand.
    explain
        See `read_explain`.

    Raises
    ------
    SammedError
        Whatever there is to say about the other scans.
    """
    if not explain:
        return model
    if explain["prior"]:
        from sammed.examples.followup import PriorModel, days_between
        from sammed.examples.library import pair

        earlier = pair(explain["prior"])
        return PriorModel(earlier, model, explain["days"] or days_between(earlier, volume))
    from sammed.examples.asking import example_model
    from sammed.examples.model import Taking

    taking = Taking(mirror=explain["mirror"])
    return example_model(explain["examples"], model, explain["objects"], None, taking)


def account_of(session: Session) -> dict[str, Any]:
    """What became of the other scans, as ``explained`` in the answer to ``segment``."""
    account = getattr(session.model, "account", None)
    return {} if account is None else {"explained": account.as_json()}
