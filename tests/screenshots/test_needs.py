"""What make screenshots says where something that it takes is missing."""

import pytest

from tests.screenshots.needs import Missing, found


def test_all_that_is_missing_is_named_with_its_fix() -> None:
    """At once, before anything is installed."""
    with pytest.raises(Missing) as missing:
        found({}, lambda _name: None)

    faults = str(missing.value).splitlines()[-3:]
    assert [fault.partition(":")[0] for fault in faults] == ["node", "npm", "Chromium"]
    assert all(" → install " in fault for fault in faults)


def test_a_chromium_that_is_named_is_the_one_that_is_looked_for() -> None:
    """And no other takes its place."""
    looked_for: list[str] = []
    with pytest.raises(Missing, match="Chromium: not found"):
        found({"CHROMIUM": "/opt/chromium"}, looked_for.append)

    assert looked_for == ["node", "npm", "/opt/chromium"]
