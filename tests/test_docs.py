"""What is documented is what the code reads."""

import re
from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.settings import load

ROOT = Path(__file__).parent.parent


class Recorder(dict[str, str]):
    """An environment in which nothing is set, and which keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, name: str, default: object = None) -> str:
        """Note the name."""
        self.asked.append(name)
        return str(default)


def settings_read() -> list[str]:
    """Every name that settings.load asks the environment for."""
    env = Recorder()
    with pytest.raises(SettingsError):
        load(env)
    return sorted(set(env.asked))


def test_settings_are_found_by_asking() -> None:
    """The names are those that the code reads, and not those of a list."""
    assert {"SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "DATABASE_URL", "PORT"} <= set(settings_read())
    assert len(settings_read()) == 16


@pytest.mark.parametrize("name", settings_read())
@pytest.mark.parametrize("document", ["README.md", ".env.example"])
def test_every_setting_is_documented(document: str, name: str) -> None:
    """Each setting that the code reads is explained where people look."""
    text = (ROOT / document).read_text(encoding="utf-8")

    assert re.search(rf"\b{name}\b", text)


@pytest.mark.parametrize("document", [".env.example"])
def test_no_setting_is_documented_that_is_not_read(document: str) -> None:
    """A setting in the example that nothing reads would be set in vain."""
    text = (ROOT / document).read_text(encoding="utf-8")
    offered = re.findall(r"^#? ?([A-Z][A-Z_]+)=", text, re.MULTILINE)

    assert sorted(set(offered)) == settings_read()
