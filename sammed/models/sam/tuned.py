"""segment-anything tuned to somebody's own structures: from what, and what tuning changed.

The change of the mask decoder is kept as a difference in 4 bits a weight, the branches in the
encoder (`sammed.models.sam.lora`) in half precision, with the SHA-256 of the checkpoint that both
are for: a few megabytes beside hundreds. With another checkpoint they mean nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor

from sammed.errors import InputError
from sammed.models import catalogue, registry
from sammed.models.checkpoints import is_weights_path
from sammed.models.compact.tuned import Difference, difference
from sammed.models.compact.weight_files import added
from sammed.models.sam import entries
from sammed.models.sam.fast_encoder import FastEncoder
from sammed.models.sam.lean_decoder import replaced
from sammed.models.sam.lora import Lora, lora_of
from sammed.models.sam.model import SamModel
from sammed.models.sam.parent import Parent

DECODER, LORA = "decoder", "lora"
"""Parts of what tuning changed."""


def tunable() -> list[str]:
    """Names of the models that can be tuned.

    Examples
    --------
    >>> tunable()
    ['vit_b', 'vit_l', 'vit_h', 'medsam']
    """
    return [name for name, entry in catalogue.entries().items() if _is_ours(entry.build)]


def _is_ours(build: Any) -> bool:
    return (build.func if isinstance(build, partial) else build) is entries.build


def tuned_from(of: str, device: str = "cpu") -> tuple[Parent, SamModel]:
    """A model that is to be tuned, and what is said of it.

    Parameters
    ----------
    of
        A registry name or alias, or the path of a checkpoint.
    device
        Where.

    Raises
    ------
    InputError
        If it is no segment-anything network.
    WeightsNotFoundError, WeightsMismatchError
        If the checkpoint is not here, or is none.
    """
    own = is_weights_path(of)
    if not own and not _is_ours(catalogue.resolve(of).build):
        raise _no_sam(of)
    model = _built(of, device)
    name = Path(of).name if own else catalogue.resolve(of).name
    file = str(Path(of).absolute()) if own else ""
    return Parent(name, model.spec.weights_hash, file), model


def untuned(parent: Parent, learned: Path, device: str) -> SamModel:
    """What was tuned, as it was before.

    Parameters
    ----------
    parent
        What is said of it.
    learned
        The file that says it.
    device
        Where.

    Raises
    ------
    WeightsNotFoundError, WeightsMismatchError
        See `Parent.checkpoint`.
    """
    path = parent.checkpoint(learned)
    return _built(str(path) if parent.file else parent.of, device)


def _built(of: str, device: str) -> SamModel:
    model = registry.build(of, device=device, threads=torch.get_num_threads())
    if not isinstance(model, SamModel) or not isinstance(model.network, Sam):
        raise _no_sam(of)
    return model


def _no_sam(of: str) -> InputError:
    return InputError(
        f"{of!r} is no segment-anything network, so it cannot be tuned as one; expected "
        f"{', '.join(tunable())} or a checkpoint of one (compact is tuned where no other model is "
        "named)"
    )


def changes(
    parent: SamModel, decoder: Mapping[str, Tensor], lora: Mapping[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """What tuning changed, by part, as files hold it.

    Parameters
    ----------
    parent
        As it was before.
    decoder
        State of its mask decoder after.
    lora
        State of the branches; empty without any.
    """
    found = {DECODER: difference(copy.deepcopy(parent.network.mask_decoder).cpu(), decoder)}
    if lora:
        found[LORA] = {name: tensor.detach().half().contiguous() for name, tensor in lora.items()}
    return found


def tuned_model(
    parent: SamModel, parts: Mapping[str, Difference], scale: float, weights_hash: str
) -> SamModel:
    """A model with what tuning changed; the parent stays as it is.

    Where the encoder is the parent's, embeddings are shared with it.

    Parameters
    ----------
    parent
        That it was tuned from.
    parts
        See `changes`.
    scale
        Of the branches.
    weights_hash
        Under which it is known.

    Raises
    ------
    WeightsMismatchError
        If it is another network's change.
    """
    network = parent.network
    decoder = copy.deepcopy(network.mask_decoder)
    device = next(decoder.parameters()).device
    stored = {name: tensor.to(device) for name, tensor in parts.get(DECODER, {}).items()}
    made = replaced(network, mask_decoder=added(decoder, stored, "the tuned mask decoder"))
    if LORA not in parts:
        return parent.changed(made, weights_hash=weights_hash)
    branches: Lora = lora_of(network.image_encoder, parts[LORA], scale, "what LoRA learned")
    encoder = branches.merged(network.image_encoder)
    made = replaced(made, image_encoder=encoder)
    return parent.changed(made, weights_hash=weights_hash, encoder=FastEncoder(encoder))
