"""The nursery: a process that has imported everything and started nothing, from which workers are forked.

``python -m tests.faults.prover.nursery DESCRIPTOR`` serves requests on an inherited socket. Each brings the worker's
end of a connection; its process id goes nowhere, because the connection shows when it has died.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import socket
import sys
import warnings
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq

from hygge_engine import orchestration
from tests.faults.prover import worker

READY = b"!"


def warm_up() -> None:
    """Do once what would cost every worker: what Arrow looks up and imports with its first table and its first file,
    and what an activity imports when it is first called."""
    for module in pkgutil.iter_modules(orchestration.__path__, f"{orchestration.__name__}."):
        importlib.import_module(module.name)
    table = pa.Table.from_pylist([{"id": 1, "value": "v"}])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    pq.ParquetFile(pa.BufferReader(sink.getvalue())).read(use_threads=False)
    gc.collect()
    gc.freeze()  # what is shared stays shared: the collector of a worker does not touch it


def _bury() -> None:
    """Wait for all workers that have died, so that their processor time counts as ours."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """Fork a worker for each connection that comes in, until the prover closes the line."""
    # Arrow and polars bring allocator threads of their own, which survive a fork; their pools do not exist yet.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*multi-threaded.*fork")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted prover closes the line
    warm_up()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        control.sendall(READY)
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            _bury()
            if not message:
                return
            if os.fork() == 0:
                control.close()
                worker.serve(descriptors[0])
            os.close(descriptors[0])


if __name__ == "__main__":
    main()
