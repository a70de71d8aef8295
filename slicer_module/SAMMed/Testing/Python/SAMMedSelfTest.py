"""Runs the module's own cases in the Slicer application.

Skipped, with the reason, where the engine is not installed: neither in its own environment nor in
the Python that was chosen in the panel.
"""

import unittest

import SAMMed


class SAMMedSelfTest(unittest.TestCase):
    """All cases of SAMMedLib/selftest.py."""

    def test_all_cases(self):
        """One box, limits, a corrected slice, undo, neighbors."""
        SAMMed.SAMMedTest().runTest()
