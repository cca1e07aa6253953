"""Reading SQL Server and landing Parquet, side by side with others: ``make bench``."""
