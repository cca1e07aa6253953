"""Lineage: which tables a load reads and writes, told as OpenLineage events where somebody wants to hear it.

Names of tables and columns and numbers of rows, never a row and never a value.
"""
