"""The load orchestrator and its activities as plain functions."""
