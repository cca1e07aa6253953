"""hygge-engine: SQL Server tables into Microsoft Fabric, every row exactly once."""

# Stated here as well as in pyproject.toml, because the deployed app is a folder and not an installed package.
__version__ = "0.1.0"

import os

# Arrow's usual allocator keeps what was freed for the thread that had it; reader, encoder and uploader hand their
# blocks on. Arrow reads this once, when it is first imported. More in `hygge_engine/memory.py`.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
