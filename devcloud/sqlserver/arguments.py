"""The arguments of a procedure, given by place or by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devcloud.sqlserver.engine.values import Scalar
from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.execution import Execution

Arguments = Sequence[tuple[str, Scalar]]
"""Names (empty where an argument is given by its place) and values."""
Procedure = Callable[[Execution, Arguments], None]


def read_arguments(name: str, arguments: Arguments, parameters: tuple[str, ...]) -> dict[str, Scalar]:
    """Return arguments by parameter, given by place or by name. Raises SqlError 8144 or 8145."""
    found: dict[str, Scalar] = {}
    for place, (given, value) in enumerate(arguments):
        if given:
            key = given.lstrip("@").lower()
            if key not in parameters:
                raise make_error(8145, given, name)
        elif place < len(parameters):
            key = parameters[place]
        else:
            raise make_error(8144, name)
        found[key] = value
    return found
