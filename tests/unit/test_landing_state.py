"""The landing state stays a small document, however many slices a load takes."""

from __future__ import annotations

import pytest

from hygge_engine.stores.landing.state import LandingState, OpenLoad, StagedFile

ITEM = "0f6d4b3c-1f46-4e0e-9d39-3f7e9e4d8d11/Files"
SLICES = 1_000


@pytest.mark.parametrize("published", [False, True])
def test_a_reload_of_a_thousand_slices_has_a_state_of_less_than_a_mebibyte(published: bool) -> None:
    staging, zone = f"{ITEM}/.hygge_journal/staging/{'f' * 100}/{'e' * 100}", f"{ITEM}/LandingZone/s.schema/{'e' * 100}"
    files = tuple(
        StagedFile(
            f"{staging}/{epoch:08d}-0001-00001.parquet",
            2**40,
            "f" * 64,
            10**9,
            f"{zone}/{epoch:020d}.parquet" if published else "",
        )
        for epoch in range(1_800_000_000, 1_800_000_000 + SLICES)
    )
    opened = OpenLoad("load", "reload", "staging", "2026-11-30T00:00:00+00:00")
    opened = OpenLoad(**vars(opened) | ({"intent": files} if published else {"staged": files}))
    document = LandingState(open=opened).to_json("nonce")
    assert len(document) < 2**20
    assert LandingState.from_json(document, "here")[0].open == opened
