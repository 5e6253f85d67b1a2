"""What is documented is what the code reads."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.errors import SettingsError
from bot.settings import Settings, load

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
    assert len(settings_read()) >= 17


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


@pytest.mark.parametrize(("document", "count"), [("README.md", 20), ("SECURITY.md", 4)])
def test_every_test_that_is_named_exists(document: str, count: int) -> None:
    """What it survives and what is promised is shown by tests, and those that are named are there."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / document).read_text(encoding="utf-8"))
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]

    assert len(named) > count
    assert missing == []


@pytest.mark.parametrize("name", [*(field.name.upper() for field in fields(Settings) if not field.repr)])
def test_how_to_change_every_secret_is_told(name: str) -> None:
    """Whatever is kept out of a repr has a row of its own."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

    assert re.search(rf"^\| [^|]*`{name}` \|", text, re.MULTILINE)


def test_every_subcommand_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """What --help offers, README explains."""
    with pytest.raises(SystemExit):
        main(["--help"])
    offered = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert {"run", "try", "manifest"} <= set(offered)
    assert [name for name in offered if not re.search(rf"(…|reload-model-bot) {name}\b", text)] == []
