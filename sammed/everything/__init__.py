"""Everything mode: things of a volume or a picture that nobody prompted, each with a score."""
