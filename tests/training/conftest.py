"""What several tests of the training share: a run, an untrained network."""

from __future__ import annotations

import pytest
import torch

from sammed.models.compact.net import CompactNet
from sammed.training.trainer import Trainer
from tests.training.networks import RECIPE, TINY, InlineStream


@pytest.fixture(autouse=True)
def _same_threads(threads):
    """Commands that are run here may change them."""


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    trainer = Trainer(RECIPE, tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sammed.training.trainer.Stream", InlineStream)
        trainer.run()
    return trainer


@pytest.fixture
def inline(monkeypatch):
    """Data are made in this process."""
    monkeypatch.setattr("sammed.training.trainer.Stream", InlineStream)


@pytest.fixture(scope="session")
def net():
    torch.manual_seed(0)
    return CompactNet(TINY).eval()
