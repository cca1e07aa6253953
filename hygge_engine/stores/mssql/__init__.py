"""Tables of a SQL Server, Azure SQL or Fabric SQL database."""
