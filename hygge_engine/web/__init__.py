"""API payloads."""
