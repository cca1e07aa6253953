"""Stores: record batches into a destination, committed once."""
