"""The one retry policy: which faults are worth another try, how long to wait, and when to stop.

Used within an operation (a lake request) and between slices (an activity's ``retry_after_seconds``).
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hygge_engine.errors import HyggeError

# HTTP statuses that the same request may survive later. 429 and 430 are how Fabric and Azure throttle, and the SDK
# does not retry them by itself; 408 and 5xx are the storage service's own transient responses (its error-code
# reference).
TRANSIENT_HTTP_STATUSES = frozenset({408, 429, 430, 500, 502, 503, 504})

# First pause; doubled with every attempt. Short, because most lake faults are one lost connection.
FIRST_PAUSE_SECONDS = 0.5

# Longest pause of our own choosing: Azure's throttling windows are tens of seconds. A service's Retry-After may ask
# for more.
LONGEST_PAUSE_SECONDS = 30.0

# Total time one operation may spend waiting. Beyond it the slice ends and the orchestrator's durable timer waits
# instead, which costs nothing and survives the host.
VERB_BUDGET_SECONDS = 60.0

# Its own generator: the module's is shared, and a load in another thread would change its sequence.
_jitter = random.Random()  # noqa: S311 - not cryptography

# The same where nothing listens at all: a service that is being moved is back within seconds, a wrong address never,
# and a waiting user wants to know.
UNREACHABLE_BUDGET_SECONDS = 5.0

# When a call last succeeded, by the monotonic clock; from any thread.
_last_success: deque[float] = deque(maxlen=1)

# Whether calls of this thread are part of no work that anybody waits for.
_unnoticed: ContextVar[bool] = ContextVar("unnoticed", default=False)


def backoff_seconds(attempt: int, retry_after: float | None = None) -> float:
    """How long to wait before attempt ``attempt + 1`` (attempts count from 1).

    Exponential backoff with equal jitter: between half and all of the ceiling.

    A service's own ``retry_after`` is the floor: asking earlier is what keeps a throttled service throttled.
    """
    ceiling = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 10))
    pause = ceiling * _jitter.uniform(0.5, 1.0)
    return max(pause, retry_after or 0.0)


def call_with_retries[T](
    call: Callable[[], T],
    *,
    budget_seconds: float = VERB_BUDGET_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call until it succeeds, fails for good, or the budget of waiting is spent; then raise the last error.

    Only ``transient`` errors are tried again. The message of the last one says how often it was tried.
    """
    waited = 0.0
    attempt = 1
    while True:
        try:
            result = call()
        except HyggeError as error:
            if not error.transient:
                raise
            pause = backoff_seconds(attempt, error.retry_after_seconds)
            budget = budget_seconds if error.patience_seconds is None else error.patience_seconds
            if waited + pause > budget:
                error.message += f" (tried {attempt} times over {waited:.0f} s)"
                raise
            sleep(pause)
            waited += pause
            attempt += 1
        else:
            if not _unnoticed.get():
                _last_success.append(time.monotonic())
            return result


@contextmanager
def unnoticed() -> Iterator[None]:
    """Within this, a call that succeeds is no sign that the work of this process gets ahead."""
    token = _unnoticed.set(True)
    try:
        yield
    finally:
        _unnoticed.reset(token)


def seconds_since_success() -> float:
    """Seconds since any call of this process last succeeded that was not `unnoticed`; infinite before the first
    one."""
    return time.monotonic() - _last_success[-1] if _last_success else math.inf
