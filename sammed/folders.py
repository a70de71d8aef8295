"""Where sammed keeps what it can fetch or compute again: weights, embeddings, compiled models."""

from __future__ import annotations

import os
from pathlib import Path

HOME_VARIABLE = "SAMMED_HOME"
"""Environment variable that moves everything sammed keeps to one folder."""


def home() -> Path:
    """The folder of all that sammed keeps: ``SAMMED_HOME``, else the user's cache folder.

    Nothing is created.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("sammed", appauthor=False)


def weights_folder() -> Path:
    """Where downloaded and imported weights lie."""
    return home() / "weights"


def embeddings_folder() -> Path:
    """Where embeddings are kept between runs."""
    return home() / "embeddings"


def compiled_folder() -> Path:
    """Where engines keep the models that they compiled."""
    return home() / "compiled"


def state_folder() -> Path:
    """Where is kept what cannot be computed again and has no place of its own: what was opened."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser() / "state"
    from platformdirs import user_state_path

    return user_state_path("sammed", appauthor=False)


def examples_folder() -> Path:
    """Where is kept what was carried from labelled examples onto scans."""
    return home() / "examples"
