"""The unit for a machine without containers, as far as a test can see without systemd."""

import re
import tomllib
from pathlib import Path

from bot.cli import EXIT_SETTINGS
from bot.core.timing import Timing
from bot.settings import NAMES

ROOT = Path(__file__).parent.parent.parent
UNIT = (ROOT / "deploy" / "systemd" / "reload-model.service").read_text(encoding="utf-8")


def value(name: str) -> str:
    """The one value of a setting in the unit."""
    [found] = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    assert isinstance(found, str)
    return found


def test_it_runs_the_program_that_the_wheel_installs() -> None:
    """Without a shell, and without arguments."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]

    assert Path(value("ExecStart")).name in scripts


def test_wrong_settings_are_not_tried_again() -> None:
    """They stay wrong until somebody changes them."""
    assert int(value("RestartPreventExitStatus")) == EXIT_SETTINGS
    assert value("Restart") == "always"


def test_the_bot_has_the_time_it_takes_to_stop() -> None:
    """Systemd kills what is still there then."""
    assert float(value("TimeoutStopSec")) > Timing().exit


def test_the_settings_that_it_names_are_settings() -> None:
    """In its advice on credentials."""
    named = set(re.findall(r"^# +Environment=(\w+)=", UNIT, re.MULTILINE))

    assert named
    assert named <= set(NAMES)
