"""nnInteractive: objects in 3D from boxes, points, scribbles and lassos on slices."""
