"""infra/bicep makes things in the order that they need. Terraform's order is checked by ``make check-infra``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.infra_bicep import order_of
from tests.unit.infra_order import ORDERS, Order
from tests.unit.infra_scenarios import INFRA

MAIN = INFRA / "bicep" / "main.bicep"


def unordered(path: Path, order: Order) -> set[str]:
    return set(order.earlier) - order_of(path)[order.later]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.later}: {order.why}")
def test_what_is_needed_is_made_before(order: Order) -> None:
    assert unordered(MAIN, order) == set()


@pytest.mark.parametrize(
    "dropped", ["access", "storageEndpoints", "vaultEndpoint", "schedulerEndpoint", "monitorEndpoint"]
)
def test_a_dependency_that_is_dropped_is_seen(dropped: str, tmp_path: Path) -> None:
    text = MAIN.read_text()
    written = "dependsOn: [access, storageEndpoints, vaultEndpoint, schedulerEndpoint, monitorEndpoint]"
    assert text.count(written) == 1
    copy = tmp_path / "main.bicep"
    copy.write_text(text.replace(written, written.replace(f"{dropped}, ", "").replace(f", {dropped}", "")))

    assert {name for order in ORDERS for name in unordered(copy, order)} == {dropped}
