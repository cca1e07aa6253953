"""The command line: ``hygge init``, ``validate``, ``doctor``, ``plan``, ``go``, ``runs``, ``dev``."""

from hygge_engine.cli.app import main

__all__ = ["main"]
