"""hygge-engine: SQL Server tables into Microsoft Fabric, every row exactly once."""
