"""Tables of a SQLite database: one file, no server."""
