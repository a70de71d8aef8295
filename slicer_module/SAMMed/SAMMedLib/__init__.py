"""The parts of the SAMMed module that are not its panel.

They import the standard library, numpy, vtk and slicer, and nothing else: sammed and torch live in
the worker process.
"""
