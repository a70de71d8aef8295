"""What a tuned segment-anything model was tuned from: which checkpoint, and whether it is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sammed.errors import SammedError, WeightsMismatchError, WeightsNotFoundError
from sammed.models.checkpoints import sha256


def is_sam(tuned: Mapping[str, Any]) -> bool:
    """Whether what a learned model's file says of tuning is about segment-anything, not compact."""
    return "of" in tuned


@dataclass(frozen=True)
class Parent:
    """What is tuned.

    Attributes
    ----------
    of
        Registry name; of an own checkpoint the file's.
    sha256
        Of the checkpoint, hex.
    file
        Path of an own checkpoint; empty of an official one.
    """

    of: str
    sha256: str
    file: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As a learned model's file says it."""
        return {"of": self.of, "parents": {"checkpoint": self.sha256}, "file": self.file}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Parent:
        """What `as_dict` told."""
        return cls(str(said["of"]), str(said["parents"]["checkpoint"]), str(said["file"]))

    def checkpoint(self, learned: Path) -> Path:
        """The checkpoint, found and compared.

        Parameters
        ----------
        learned
            The file that says what was changed; an own checkpoint may lie beside it.

        Raises
        ------
        WeightsNotFoundError
            If it is not here.
        WeightsMismatchError
            If it is another one.
        """
        again = f"or learn again with 'sammed learn --what promptable --of {self.of}'"
        if self.file:
            places = (Path(self.file), learned.parent / Path(self.file).name)
            path = next((place for place in places if place.is_file()), None)
            if path is None:
                raise WeightsNotFoundError(
                    f"{learned} answers prompts with the checkpoint {places[0].name} (SHA-256 "
                    f"{self.sha256[:12]}), which is neither at {places[0]} nor beside it; put it "
                    f"beside it, {again}"
                )
        else:
            path = self._official(learned)
        found = sha256(path)
        if found != self.sha256:
            raise WeightsMismatchError(
                f"{learned} was tuned from another checkpoint of {self.of} (SHA-256 "
                f"{self.sha256[:12]}) than {path} ({found[:12]}); put the one that it was tuned "
                f"from in its place, {again}"
            )
        return path

    def _official(self, learned: Path) -> Path:
        from sammed.models import catalogue, downloads  # which know of learned models themselves

        try:
            return downloads.find(catalogue.resolve(self.of))
        except SammedError as error:
            raise type(error)(f"{learned} answers prompts with {self.of}: {error}") from None
