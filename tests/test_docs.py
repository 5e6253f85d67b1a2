"""The documents name what there is: settings, commands, tests, files, and each other."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bot.cli import main
from bot.core.command import FOR_ADMINS, Word
from bot.settings import NAMES, Settings, read
from bot.ui.messages import help_text

ROOT = Path(__file__).parent.parent
DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in ROOT.glob("*.md")}
DOCUMENTS |= {f"docs/{path.name}": path.read_text(encoding="utf-8") for path in ROOT.glob("docs/*.md")}
OPERATING = DOCUMENTS["docs/operating.md"]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")

each_document = pytest.mark.parametrize("document", DOCUMENTS)


def anchors(document: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", DOCUMENTS[document], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def has(path: str, name: str) -> bool:
    """Whether a file defines this function or class."""
    source = (ROOT / path).read_text(encoding="utf-8")
    return re.search(rf"^ *(async def|def|class) {name}\b", source, re.MULTILINE) is not None


@each_document
def test_every_link_leads_to_a_file_and_a_heading(document: str) -> None:
    """Of this repository; other addresses are not called."""
    linked = re.findall(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"', DOCUMENTS[document])
    inside = [one or other for one, other in linked if "://" not in one + other]
    for link in inside:
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(str(target.resolve().relative_to(ROOT))), link


@each_document
def test_every_file_function_and_make_target_that_is_named_exists(document: str) -> None:
    """A file is `bot/cli.py`, and a function in it `bot/cli.py::main`. Every command can be pasted as it stands."""
    code = re.findall(r"`((?:bot|deploy|docs|tests|\.github)/[\w./-]*)(?:::(\w+))?`", DOCUMENTS[document])

    assert [path for path, _ in code if not (ROOT / path).exists()] == []
    assert [f"{path}::{name}" for path, name in code if name and not has(path, name)] == []
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", DOCUMENTS[document], re.MULTILINE)) <= TARGETS


@pytest.mark.parametrize(("document", "count"), [("docs/reliability.md", 20), ("SECURITY.md", 4)])
def test_what_is_promised_is_shown_by_tests(document: str, count: int) -> None:
    """Many of the promises name theirs."""
    assert len(re.findall(r"`tests/[\w/]+\.py::test_\w+`", DOCUMENTS[document])) > count


def test_the_folders_are_drawn_as_they_are() -> None:
    """Each folder is in the picture, and each module of the picture is there."""
    picture = DOCUMENTS["docs/architecture.md"].partition("```\nbot/")[2].partition("```")[0]
    folders = {path.parent.name for path in ROOT.glob("bot/*/__init__.py")}
    modules = {path.name for path in ROOT.glob("bot/**/*.py")}

    assert folders == set(re.findall(r"^  (\w+)/", picture, re.MULTILINE))
    assert set(re.findall(r"\w+\.py", picture)) <= modules


@pytest.mark.parametrize(
    ("document", "name"),
    [
        *(("docs/operating.md", name) for name in NAMES),
        *(("SECURITY.md", field.name.upper()) for field in fields(Settings) if not field.repr),
        *(("README.md", f"/reload-model {word}") for word in Word),
    ],
)
def test_every_setting_secret_and_word_has_a_row(document: str, name: str) -> None:
    """Each setting, how to change each that is kept out of a repr, and each word of the command."""
    assert re.search(rf"^\| [^|]*`{name}`[^|]*\|", DOCUMENTS[document], re.MULTILINE)


@pytest.mark.parametrize("word", Word)
def test_the_help_names_every_word(word: Word) -> None:
    """So does the hint that Slack shows while somebody types, except for what is for admins only."""
    hint = re.findall(r"usage_hint: .*", (ROOT / "manifest.yml").read_text(encoding="utf-8"))[0]

    assert f"/reload-model {word}" in help_text("/reload-model", admin=True) or word is Word.HELP
    assert (f" {word}" in hint) == (word not in FOR_ADMINS)


def test_the_example_has_every_setting_and_is_valid_once_it_is_filled_in(tmp_path: Path) -> None:
    """And no other, which would do nothing. Its comments are the defaults."""
    assert sorted(re.findall(r"^#? ?([A-Z][A-Z_]+)=", EXAMPLE, re.MULTILINE)) == sorted(NAMES)
    values = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "MODELSLAB_API_KEY": "k", "ALLOWED_USERS": "*"}
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z])", "", EXAMPLE, flags=re.MULTILINE))

    assert read(values, tmp_path / ".env") == (read(values)[0], [])


def test_every_subcommand_and_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """What --help lists is in a row of the table, and has a make target."""
    rows = dict(re.findall(r"^\| .*`reload-model-bot (\w+)` \| (.*?) \|", OPERATING, re.MULTILINE))
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)

    assert set(commands) == set(rows) <= TARGETS
    for command in commands:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        options = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
        assert set(re.findall(r"--[a-z]+", rows[command])) == options
