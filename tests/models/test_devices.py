from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sammed.errors import InputError
from sammed.models import devices
from sammed.models.devices import fastest_threads, resolve_device, set_threads


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    own = torch.get_num_threads()
    fastest_threads.cache_clear()
    yield
    fastest_threads.cache_clear()
    torch.set_num_threads(own)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({8: 1.0, 4: 1.7}, 8),
        ({8: 1.0, 4: 0.95}, 8),
        ({8: 1.0, 4: 0.8, 2: 1.2}, 4),
        ({8: 1.0, 4: 0.8, 2: 0.5, 1: 0.4}, 1),
    ],
)
def test_fewer_threads_only_where_they_are_clearly_faster(
    seconds: dict[int, float], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(8)
    monkeypatch.setattr(devices, "_seconds", lambda n: seconds[n])
    assert fastest_threads() == chosen
    assert torch.get_num_threads() == 8


def test_the_measurement_measures_and_leaves_no_trace() -> None:
    torch.set_num_threads(2)
    assert fastest_threads() in (1, 2)
    assert torch.get_num_threads() == 2
    assert devices._seconds(1) > 0


def test_threads_and_devices_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="cannot run on 0 threads"):
        set_threads(0)
    with pytest.raises(InputError, match="unknown device 'tpu'"):
        resolve_device("tpu")
