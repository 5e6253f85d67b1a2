"""The subcommand hands its options on, and ends with the exit code of the checks."""

import sys
from typing import TextIO

import pytest

from bot.__main__ import main


class Checks:
    """Checks that keep how they were called, and end as they are told."""

    def __init__(self) -> None:
        self.out: TextIO | None = None
        self.options: dict[str, object] = {}
        self.code = 0
        self.error: BaseException | None = None

    def __call__(self, out: TextIO, **options: object) -> int:
        """Note what they were called with."""
        self.out, self.options = out, options
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    """Checks that take no time."""
    made = Checks()
    monkeypatch.setattr("bot.ops.doctor.check.main", made)
    return made


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {"who": "", "balance": False, "as_json": False}),
        (["--balance", "--json"], {"who": "", "balance": True, "as_json": True}),
        (["--who", "W012AB3CD"], {"who": "W012AB3CD", "balance": False, "as_json": False}),
    ],
)
def test_the_options_are_handed_on(checks: Checks, arguments: list[str], options: dict[str, object]) -> None:
    """What is found goes to stdout."""
    assert main(["check", *arguments]) == 0
    assert (checks.out, checks.options) == (sys.stdout, options)


def test_a_fault_is_the_programs_exit_code(checks: Checks) -> None:
    """So that a script can tell."""
    checks.code = 1

    assert main(["check"]) == 1


def test_the_checks_may_be_interrupted(checks: Checks) -> None:
    """Ctrl-C is a way to end, and shows no traceback."""
    checks.error = KeyboardInterrupt()

    assert main(["check"]) == 130


@pytest.mark.parametrize("who", ["@ada", "ada", "C012AB3CD", ""])
def test_a_person_is_named_by_id(checks: Checks, who: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As in the settings: names are nobody's own."""
    with pytest.raises(SystemExit) as raised:
        main(["check", f"--who={who}"])

    assert raised.value.code == 2
    assert f"{who} is no person's id: those look like U012AB3CD" in capsys.readouterr().err
    assert checks.out is None
