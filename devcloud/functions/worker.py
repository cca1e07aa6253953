"""The worker process: one Function app, run for a host at the other end of a socket.

Ends at once when the host is gone, so that no worker outlives it. Everything that functions log or print goes to
standard error.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path

from devcloud.functions import runtime
from devcloud.functions.settings import read_host_json
from devcloud.functions.worker_protocol import (
    STREAM_LIMIT_BYTES,
    Frame,
    FunctionAppError,
    decode_inputs,
    encode_outcome,
    read_frame,
)


async def _serve(directory: Path, channel: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=channel, limit=STREAM_LIMIT_BYTES)
    try:
        functions = await runtime.load_app(directory)
    except FunctionAppError as error:
        writer.write(Frame({"kind": "failed", "error": str(error)}).encode())
        await writer.drain()
        return
    writer.write(Frame({"kind": "ready", "functions": [asdict(function) for function in functions]}).encode())

    async def run(frame: Frame) -> None:
        invocation_id = frame.content["id"]
        writer.write(Frame({"kind": "started", "id": invocation_id}).encode())
        await writer.drain()
        outcome = await runtime.invoke(frame.content["function"], decode_inputs(frame))
        writer.write(encode_outcome(invocation_id, outcome).encode())
        await writer.drain()

    running: set[asyncio.Task[None]] = set()
    while True:
        task = asyncio.create_task(run(await read_frame(reader)))
        running.add(task)
        task.add_done_callback(running.discard)


def main() -> None:
    """Run the worker until the host closes the socket."""
    parser = argparse.ArgumentParser(prog="python -m devcloud.functions.worker")
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the connected socket")
    arguments = parser.parse_args()
    level = read_host_json(arguments.app, dict(os.environ)).log_level
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        asyncio.run(_serve(arguments.app.resolve(), socket.socket(fileno=arguments.socket)))
    # Functions may still run on the thread pool; an orderly exit would wait for them.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
