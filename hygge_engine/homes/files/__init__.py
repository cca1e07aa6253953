"""Files as a source: Parquet, CSV and NDJSON on the local disk, in ADLS Gen2 and in OneLake."""
