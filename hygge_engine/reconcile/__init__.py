"""Source against destination: the same rows, or which ones differ."""
