"""Volumes, their geometry, boxes in them and their intensities."""
