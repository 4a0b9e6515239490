"""What the kit finds out, from emulators that differ from what is assumed.

``tests/e2e/test_live.py`` does the same with every deviation, and with Airflow.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.deviations import DEVIATIONS, is_noticed, label
from tests.live.kit import BY_HOOK, Kit, virtual_emulator

_QUICK = ("unknown_job", "wrong_region", "template_not_found", "invalid_argument", "listed_tags", "progress")


def test_the_kit_finds_everything_as_assumed(kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, "--yes", "--only", *BY_HOOK)
    assert outcome.status == 0
    assert outcome.report["not_observed"] == {}
    assert outcome.deviations == {}
    assert set(outcome.observed) == set(BY_HOOK)


@pytest.mark.parametrize("deviation", [each for each in DEVIATIONS if each[0] in _QUICK], ids=label)
def test_the_kit_notices_what_differs(deviation: tuple[str, Any], kit: Kit) -> None:
    name, value = deviation
    with virtual_emulator({name: value}) as emulator:
        outcome = kit.run(emulator, "--yes", "--only", *_QUICK)
    assert outcome.status == 0
    assert list(outcome.deviations) == [name]
    assert is_noticed(outcome.deviations[name], value)
