"""What tests of learning share."""

from __future__ import annotations

import pytest

from sammed.learning import opinion


@pytest.fixture(autouse=True)
def one_slice_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second opinions on one slice instead of eight: three quarters of a quick round are theirs."""
    monkeypatch.setattr(opinion, "SLICES", 1)
