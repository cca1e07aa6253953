"""A large load on several instances of the app, which come, go and die at random: ``python -m tests.storm``."""
