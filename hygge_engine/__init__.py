"""hygge-engine: SQL Server tables into Microsoft Fabric, every row exactly once."""

# Stated here as well as in pyproject.toml, because the deployed app is a folder and not an installed package.
__version__ = "0.1.0"
