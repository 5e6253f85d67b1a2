"""What is documented is what the code reads."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bot.cli import main
from bot.settings import NAMES, Settings, load

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("document", ["README.md", ".env.example"])
def test_every_setting_is_documented(document: str, name: str) -> None:
    """It is explained where people look."""
    text = (ROOT / document).read_text(encoding="utf-8")

    assert re.search(rf"\b{name}\b", text)


@pytest.mark.parametrize("document", [".env.example"])
def test_no_setting_is_documented_that_is_not_read(document: str) -> None:
    """A setting in the example that nothing reads would do nothing."""
    text = (ROOT / document).read_text(encoding="utf-8")
    offered = re.findall(r"^#? ?([A-Z][A-Z_]+)=", text, re.MULTILINE)

    assert sorted(offered) == sorted(NAMES)


@pytest.mark.parametrize(("document", "count"), [("README.md", 20), ("SECURITY.md", 4)])
def test_every_test_that_is_named_exists(document: str, count: int) -> None:
    """What it survives and what is guaranteed is shown by tests."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / document).read_text(encoding="utf-8"))
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]

    assert len(named) > count
    assert missing == []


@pytest.mark.parametrize("name", [*(field.name.upper() for field in fields(Settings) if not field.repr)])
def test_how_to_change_every_secret_is_documented(name: str) -> None:
    """Whatever is kept out of a repr is in a row of the table."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

    assert re.search(rf"^\| [^|]*`{name}`[^|]*\|", text, re.MULTILINE)


def test_every_subcommand_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """What --help lists, README explains."""
    with pytest.raises(SystemExit):
        main(["--help"])
    offered = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert {"run", "try", "manifest", "check", "audit", "health"} <= set(offered)
    assert [name for name in offered if not re.search(rf"(…|reload-model-bot) {name}\b", text)] == []


def test_the_example_is_a_valid_file_once_it_is_filled_in(tmp_path: Path) -> None:
    """Its comments are the defaults."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    values = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "MODELSLAB_API_KEY": "k", "ALLOWED_USERS": "*"}
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z])", "", text, flags=re.MULTILINE))

    assert load(values, tmp_path / ".env") == load(values)
