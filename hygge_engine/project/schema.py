"""``python -m hygge_engine.project.schema DIRECTORY`` writes the JSON Schemas of all installed types."""

import sys
from pathlib import Path

from hygge_engine.project.publishing.schema import write_schemas

if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema"))
