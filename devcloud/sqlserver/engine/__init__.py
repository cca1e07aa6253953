"""The engine: binds T-SQL to typed DuckDB SQL and runs it."""
