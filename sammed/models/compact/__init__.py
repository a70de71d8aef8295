"""The built-in network: for views of slices, and for 3D boxes as a whole."""
