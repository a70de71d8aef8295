"""What was opened before, for the page that `sammed open` alone shows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sammed.errors import SammedError
from sammed.folders import state_folder
from sammed.io.output import atomic_text

MOST = 12
FILE = "recent.json"


@dataclass(frozen=True)
class Recent:
    """Something that was opened from where it lies.

    Attributes
    ----------
    path
        Absolute.
    series, frame
        What was chosen of it.
    when
        ISO 8601.
    """

    path: str
    series: str | None
    frame: int | None
    when: str

    @property
    def id(self) -> str:
        """What the page calls it by."""
        said = f"{self.path}\0{self.series}\0{self.frame}"
        return "recent-" + hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def told(self) -> dict[str, Any]:
        """What the page is told of it."""
        path = Path(self.path)
        return {"id": self.id, "name": path.name, "where": str(path.parent), "when": self.when}


def recent() -> list[Recent]:
    """What was opened before and is still there, the last first."""
    try:
        listed = json.loads((state_folder() / FILE).read_text(encoding="utf-8"))
        found = [
            Recent(str(e["path"]), e.get("series"), e.get("frame"), str(e["when"]))
            for e in listed["opened"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [entry for entry in found if _is_there(entry.path)][:MOST]


def remember(path: Path, series: str | None, frame: int | None) -> None:
    """Put something at the head of the list; if that cannot be written, it is not remembered."""
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    new = Recent(str(path.absolute()), series, frame, when)
    kept = [new, *(entry for entry in recent() if entry.id != new.id)][:MOST]
    listed = [{"path": e.path, "series": e.series, "frame": e.frame, "when": e.when} for e in kept]
    folder = state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic_text(folder / FILE, json.dumps({"opened": listed}, indent=1) + "\n", force=True)
    except (OSError, SammedError):
        return


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
