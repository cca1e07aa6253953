"""The workspace and the mirrored database of the `lake` fixture."""

WORKSPACE, MIRROR = "0fab0000-0000-4000-8000-00000000000a", "0fab0000-0000-4000-8000-00000000000b"
