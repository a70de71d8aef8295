"""Models behind one protocol: encode a view once, decode any number of prompts."""
