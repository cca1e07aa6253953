"""infra/bicep makes things in the order that they need. Terraform's order is checked by ``make check-infra``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.infra_bicep import at_once, order_of
from tests.unit.infra_order import ENDPOINTS, ONE_AT_A_TIME, ORDERS, OneAtATime, Order
from tests.unit.infra_scenarios import INFRA

MAIN = INFRA / "bicep" / "main.bicep"


def unordered(path: Path, order: Order) -> set[str]:
    return set(order.earlier) - order_of(path)[order.later]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.later}: {order.why}")
def test_what_is_needed_is_made_before(order: Order) -> None:
    assert unordered(MAIN, order) == set()


@pytest.mark.parametrize("dropped", ["access", *ENDPOINTS])
def test_a_dependency_that_is_dropped_is_seen(dropped: str, tmp_path: Path) -> None:
    text = MAIN.read_text()
    written = f"dependsOn: [access, {', '.join(ENDPOINTS)}]"
    assert text.count(written) == 1
    copy = tmp_path / "main.bicep"
    copy.write_text(text.replace(written, written.replace(f"{dropped}, ", "").replace(f", {dropped}", "")))

    assert {name for order in ORDERS for name in unordered(copy, order)} == {dropped}


@pytest.mark.parametrize("rule", ONE_AT_A_TIME, ids=lambda rule: rule.declared)
def test_what_changes_the_same_is_made_one_after_the_other(rule: OneAtATime) -> None:
    assert at_once(INFRA / "bicep" / rule.file, rule.declared) == []


# What is planted: the rule, what is dropped, and what would be made at once.
PLANTED = {
    "a loop that makes all at once": (0, "@batchSize(1)\n", "storageEndpoints"),
    "a loop of pairs": (0, "@batchSize(1)", "storageEndpoints"),
    **{
        f"{later} beside those before it": (0, f"  dependsOn: [{', '.join(ENDPOINTS[:index])}]\n", f", {later}")
        for index, later in enumerate(ENDPOINTS)
        if index
    },
    # Not deployed, the vault's endpoint hands on no order.
    "an order by way of what may be missing": (
        0,
        "dependsOn: [storageEndpoints, vaultEndpoint]",
        "storageEndpoints, s",
    ),
    "two of a scope": (1, "  dependsOn: [workspace]\n", "workspace, component"),
}
INSTEAD = {
    "a loop of pairs": "@batchSize(2)",
    "an order by way of what may be missing": "dependsOn: [vaultEndpoint]",
}


@pytest.mark.parametrize("fault", PLANTED)
def test_what_is_made_at_once_is_seen(fault: str, tmp_path: Path) -> None:
    number, written, named = PLANTED[fault]
    rule = ONE_AT_A_TIME[number]
    text = (INFRA / "bicep" / rule.file).read_text()
    assert text.count(written) == 1
    copy = tmp_path / "copy.bicep"
    copy.write_text(text.replace(written, INSTEAD.get(fault, "")))

    assert any(named in pair for pair in at_once(copy, rule.declared))
