"""A network that answers for every voxel: where things are, and where the borders between them."""
