"""`python -m devcloud up`: see `devcloud.up`."""

import os
import signal
import sys

if __name__ == "__main__":
    # Until the cloud starts and can be stopped in order, Ctrl-C ends the process without a trace of its imports.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from devcloud.up import main
    from hygge_engine.cli.streams import run_with_streams

    run_with_streams(lambda: sys.exit(main()))
