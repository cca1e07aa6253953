"""The landing protocol: how files become visible exactly once, whatever dies wherever."""
