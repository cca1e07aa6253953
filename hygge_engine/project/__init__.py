"""YAML on disk, validated into frozen models, and the plan of a load."""
