"""Homes: rows out of a source, as Arrow record batches."""
