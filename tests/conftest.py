"""What all tests share: reproducible random tests, and nothing kept outside the test's folder."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "sammed",
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("sammed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and every program of the tests would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Doctests are the package's; to look for some in here would import helpers with effects."""
    found = yield
    return [collector for collector in found if type(collector) is pytest.Module]


@pytest.fixture(autouse=True)
def priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that steps back behind other programs would take all later tests with it."""
    monkeypatch.setattr(os, "nice", lambda by: 0, raising=False)


@pytest.fixture
def console(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Give back the logging and the warnings that a command sets up for its own process.

    What commands keep between runs goes to a folder of the test.
    """
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path_factory.mktemp("home")))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def threads() -> Iterator[None]:
    """Give back the number of PyTorch's threads, which the last bits of results depend on."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
