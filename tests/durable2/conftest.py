"""These tests need the next Durable SDK, which has an environment of its own (``make test-durable2``)."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("durabletask") else ["*"]
