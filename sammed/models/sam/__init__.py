"""segment-anything's models and MedSAM behind the engine's door."""
