"""How prompts become an object: slice by slice, plane by plane, or the volume as a whole."""
