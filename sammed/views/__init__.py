"""What a model sees of a volume: slices, views of them, and the embeddings of views."""
