"""Tables in databases: rows and landing state change in one transaction."""
