"""Nothing of what infra/bicep asks of Azure changes unseen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.planted import plant
from tests.unit.infra_asked import RECORD, record
from tests.unit.infra_scenarios import INFRA


def test_what_is_asked_of_azure_is_what_the_record_says() -> None:
    # After a change that is meant: python -m tests.unit.infra_asked, and read what has changed.
    assert record(INFRA).splitlines() == RECORD.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("file", "written", "instead"),
    [
        (
            "modules/storage",
            "containerDeleteRetentionPolicy: { enabled: true",
            "containerDeleteRetentionPolicy: { enabled: false",
        ),
        ("modules/app", "'azd-service-name': 'app'", "'azd-service-name': 'api'"),
        (
            "main",
            "output HYGGE_IDENTITY_CLIENT_ID string = identity.outputs.clientId",
            "output HYGGE_IDENTITY_CLIENT_ID string = identity.outputs.name",
        ),
    ],
)
def test_a_change_is_seen(file: str, written: str, instead: str, tmp_path: Path) -> None:
    infra = Path(shutil.copytree(INFRA, tmp_path / "infra"))
    plant(infra / f"bicep/{file}.bicep", written, instead)

    assert record(infra) != RECORD.read_text(encoding="utf-8")
