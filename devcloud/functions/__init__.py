"""An Azure Functions host for one laptop: Microsoft's Python worker library behind HTTP, timers and Durable Functions.

It indexes and runs a real ``function_app.py``; only the .NET host is replaced. See ``docs/devcloud/functions.md`` for
what is faithful and what is left out.
"""

from devcloud.functions.faults import Faults
from devcloud.functions.host import FunctionsHost
from devcloud.functions.worker_protocol import FunctionAppError

__all__ = ["Faults", "FunctionAppError", "FunctionsHost"]
