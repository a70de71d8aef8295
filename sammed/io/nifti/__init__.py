"""NIfTI: voxels, affine and label tables."""
