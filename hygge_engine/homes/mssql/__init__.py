"""SQL Server, Azure SQL and Fabric SQL as a home.

``settings`` is all that reading a project needs; ``home`` brings in the driver, and is imported when rows are read.
"""
