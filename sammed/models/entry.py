"""What the catalogue says of a model: its name, its files, its options, and how it is built.

A package of its own adds models to sammed by such entries, see `sammed.models.plugins`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sammed.models.checkpoints import is_weights_path

if TYPE_CHECKING:
    from sammed.models.protocols import Model

OWN_PACKAGE = "sammed"
"""The package that the built-in models come from."""


@dataclass(frozen=True)
class WeightsFile:
    """An official weights file.

    Attributes
    ----------
    file_name
        As published, and as kept in the weights folder.
    size
        Bytes; 0 if that is not known.
    url
        Where it is published.
    sha256
        Hex digest of the whole file; empty if none is known, so that it is taken as it comes.
    md5
        Another hex digest by which a genuine copy is recognised; empty if none is needed.
    """

    file_name: str
    size: int
    url: str
    sha256: str
    md5: str = ""


@dataclass(frozen=True)
class BuildRequest:
    """What a model is built with: settled, whatever the user said or left open.

    Attributes
    ----------
    weights
        The file to read: the user's own, else the official one, which is there and genuine;
        ``None`` if the model has no official file and the user gave none.
    license
        Licence of those weights, as `ModelSpec.license` states it.
    device
        ``"cpu"``, ``"cuda"`` or ``"mps"``, and it is there.
    threads
        How many threads PyTorch may use, already set; ``None`` if the user does not mind.
    """

    weights: Path | None = None
    license: str = ""
    device: str = "cpu"
    threads: int | None = None


Builder = Callable[..., "Model"]
"""``build(request: BuildRequest, **options)`` gives a model; it imports what is heavy itself."""

Recogniser = Callable[[Path], bool]
"""Whether a file that exists holds weights of a model, as far as a glance tells; never raises."""


Maker = Callable[[Path, Path], None]
"""``make(folder, file)`` writes a model's one weights file from a folder that the user fetched."""


@dataclass(frozen=True)
class ModelEntry:
    """A model by its registry name.

    Attributes
    ----------
    name
        The registry name, which is also the ``spec.name`` of the model.
    description
        One line.
    license
        Licence of the weights.
    build
        Gives the model, see `Builder`.
    aliases
        Other names.
    weights
        The official file that is downloaded or imported, ``None`` if there is none.
    make
        Of models that are published as a folder of files, which the user fetches: makes the one
        weights file of it. ``None``: the official file is fetched and copied as it is.
    shipped
        Weights files that are part of the package.
    options
        Keywords that ``build`` takes beside the request.
    recognises
        Which files, given in place of a model's name, are this model's weights; ``None``: none.
    uses_torch
        Whether device and threads are PyTorch's. Else the model runs on the processor, whatever
        is asked for, and PyTorch is not imported for it.
    baseline
        Whether it is one of the built-in models that every other one must beat.
    needs
        The extra of sammed, or the package, without which it cannot be built.
    memory
        Bytes of memory that it takes while it works, measured; 0 if that is not known or little.
    package
        The installed package that it comes from; filled in for those of other packages.

    Raises
    ------
    ValueError
        If a name is empty or looks like a file's.
    """

    name: str
    description: str
    license: str
    build: Builder
    aliases: tuple[str, ...] = ()
    weights: WeightsFile | None = None
    make: Maker | None = None
    shipped: tuple[Path, ...] = ()
    options: tuple[str, ...] = ()
    recognises: Recogniser | None = None
    uses_torch: bool = True
    baseline: bool = False
    needs: str = ""
    memory: int = 0
    package: str = OWN_PACKAGE

    def __post_init__(self) -> None:
        for name in self.names:
            if not name or name != "".join(name.split()) or is_weights_path(name):
                raise ValueError(f"{name!r} cannot be a model's name; expected a word like 'vit_b'")

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)

    @property
    def takes_weights(self) -> bool:
        """Whether the model has weights at all, which a file of the user's may replace."""
        return bool(self.weights or self.shipped or self.recognises)
