"""Runs the module's own cases in the Slicer application; needs a Python with sammed.

The Python is the one chosen in the panel, Slicer's own by default.
"""

import unittest

import SAMMed


class SAMMedSelfTest(unittest.TestCase):
    """All cases of SAMMedLib/selftest.py."""

    def test_all_cases(self):
        """One box, limits, a corrected slice, undo, neighbours."""
        SAMMed.SAMMedTest().runTest()
