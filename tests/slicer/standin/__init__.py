"""Stand-ins for the parts of the Slicer application that slicer-core does not have."""
