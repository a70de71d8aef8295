"""Learning beside other work: on one thread where the others' cores are taken."""

from __future__ import annotations

import pytest
import torch

from sammed.learning.threads import EVERY_S, shared_cores, thread_counts


@pytest.mark.parametrize(("together", "chosen"), [(0.06, 2), (0.5, 1)])
def test_the_quicker_number_is_taken(together, chosen):
    counts = thread_counts(2)
    threads, used = next(counts), []
    for _ in range(100):
        used.append(threads)
        threads = counts.send(together if threads == 2 else 0.1)
    assert used[10:].count(chosen) > 80


@pytest.mark.parametrize("alone", [0.1, 5.0])
def test_it_is_looked_at_again_and_costs_little(alone):
    """A core is taken, and later free again, on a quick and on a slow processor."""
    counts = thread_counts(2)
    threads, passed, other = next(counts), 0.0, 0.0
    while passed < 3000:
        busy = passed < 1500
        took = alone if threads == 1 else alone * (6 if busy else 0.6)
        other += took if (threads == 2) == busy else 0
        passed += took
        threads = counts.send(took)
    assert threads == 2
    assert other < 0.2 * passed + 10 * EVERY_S


def test_afterwards_there_are_as_many_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with shared_cores() as took:
            assert torch.get_num_threads() == 1
            took(0.1)
            assert torch.get_num_threads() == 2
            took(0.1)
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
