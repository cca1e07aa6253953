"""The fault-injection suite: kills, pauses and misleads real loads at every point where storage changes, and checks
what is left.

``python -m tests.faults.prover`` (``make faults``); `docs/faults.md` explains it.
"""
