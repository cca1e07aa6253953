"""``python -m devcloud.functions``: serve a Function app from the command line, as ``func start`` does."""

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from devcloud.functions.host import FunctionsHost
from devcloud.functions.service import die_for_good
from devcloud.functions.settings import parse_instances, read_local_settings
from devcloud.functions.worker_protocol import FunctionAppError


def main() -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m devcloud.functions", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path(), help="directory with function_app.py and host.json")
    parser.add_argument("--port", type=int, default=7071, help="port on loopback; 0 takes a free one")
    parser.add_argument("--state", type=Path, default=Path(".devcloud/functions"), help="directory of the task hub")
    parser.add_argument("--instances", type=parse_instances, default=1, help="instances of the app at first (1)")
    parser.add_argument("--settings", type=Path, help="local.settings.json with the app settings")
    parser.add_argument("--function-key", help="the key that opens the functions; made at random if not given")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        settings = read_local_settings(arguments.settings) if arguments.settings is not None else {}
        host = FunctionsHost(
            arguments.app,
            arguments.state,
            arguments.port,
            settings,
            function_key=arguments.function_key,
            instances=arguments.instances,
            on_death=die_for_good,
        )
        with host:
            _print_functions(host)
            stopped.wait()
    except (FunctionAppError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _print_functions(host: FunctionsHost) -> None:
    print("Functions:")
    for route in host.routes:
        methods = ",".join(route.methods)
        print(f"        {route.function.name}: [{methods}] {host.url}/{route.template}")
    for name, schedule in host.schedules.items():
        print(f"        {name}: timerTrigger {schedule}")
    print(f"Function key: {host.function_key}")
    print(f"Master key: {host.master_key}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
