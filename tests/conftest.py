"""What every test begins with."""

from __future__ import annotations

import pytest

from hygge_engine import masking

pytest.register_assert_rewrite("tests.support")


@pytest.fixture(autouse=True)
def no_secret_of_other_tests() -> None:
    """A process remembers its secrets; a test must not be shown the masks of another one's."""
    masking.forget_everything()
