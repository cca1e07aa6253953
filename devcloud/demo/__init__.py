"""The demonstration: load five real tables, prove it, change the source, load the change, prove it again."""
