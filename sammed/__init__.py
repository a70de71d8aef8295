"""One box on one slice in, a 3D label volume out."""

__version__ = "0.1.0"
