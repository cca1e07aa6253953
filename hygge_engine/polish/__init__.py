"""The last mile: what is done to rows between a home and a store."""
