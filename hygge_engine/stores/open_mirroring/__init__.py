"""Open Mirroring: tables in the landing zone of a Fabric mirrored database."""
