"""Lineage: which tables a load reads and writes, sent as OpenLineage events where a receiver is set.

Names of tables and columns and numbers of rows, never a row and never a value.
"""
