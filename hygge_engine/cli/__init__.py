"""The command line: ``hygge go``, ``plan``, ``runs``, ``validate``, ``dev``."""

from hygge_engine.cli.app import main

__all__ = ["main"]
