"""The Slack app's manifest asks for what the code uses, and for no more."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from bot.settings import COMMAND
from bot.slack import manifest
from bot.ui.views import PICKER

ROOT = Path(__file__).parent.parent
SCHEMA = Path(__file__).parent / "data" / "slack-manifest.schema.2.0.0.json"
"""https://github.com/slackapi/manifest-schema, schemas/manifest.schema.2.0.0.json."""

URL = "https://bot.example.com"

# The bot scopes that each method wants, at https://docs.slack.dev/reference/methods. Posting in a public channel
# that the bot has not joined takes chat:write.public besides.
SCOPES = {
    "auth.test": set[str](),
    "chat.postEphemeral": {"chat:write"},
    "chat.postMessage": {"chat:write", "chat:write.public"},
    "chat.update": {"chat:write"},
    "conversations.open": {"im:write"},
    "views.open": set[str](),
    "views.publish": set[str](),
    "views.update": set[str](),
}

both = pytest.mark.parametrize("text", [manifest.text(), manifest.text(URL)], ids=["socket", "http"])


def part(text: str, *path: str) -> object:
    """What stands at this place in a manifest."""
    found: object = YAML(typ="safe").load(text)
    for name in path:
        assert isinstance(found, dict)
        found = found[name]
    return found


def methods_called() -> set[str]:
    """Every method of the Web API that the bot's code calls with the bot's token."""
    modules = [path for path in (ROOT / "bot").rglob("*.py") if "sandbox" not in path.relative_to(ROOT).parts]
    sources = [path.read_text(encoding="utf-8") for path in modules]
    return {method for source in sources for method in re.findall(r"""slack\.call\(\s*["']([\w.]+)["']""", source)}


def test_the_file_is_what_the_program_prints() -> None:
    """manifest.yml is there to be pasted, and is never edited by hand."""
    assert (ROOT / "manifest.yml").read_text(encoding="utf-8") == manifest.text()


def test_over_http_only_the_addresses_differ() -> None:
    """The HTTP variant names the address at each place that wants it, and switches Socket Mode off."""
    ours, theirs = manifest.text().splitlines(), manifest.text(URL).splitlines()

    assert [line for line in theirs if line not in ours] == [
        "      url: https://bot.example.com/slack/events",
        "    request_url: https://bot.example.com/slack/events",
        "    request_url: https://bot.example.com/slack/events",
        "    message_menu_options_url: https://bot.example.com/slack/events",
        "  socket_mode_enabled: false",
    ]
    assert [line for line in ours if line not in theirs] == ["  socket_mode_enabled: true"]


@both
def test_it_is_valid(text: str) -> None:
    """Slack's own schema takes it."""
    validator = Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    faults = [error.message for error in validator.iter_errors(part(text))]

    assert faults == []


@both
def test_it_keeps_the_limits_that_the_schema_does_not_know(text: str) -> None:
    """https://docs.slack.dev/reference/app-manifest states them."""
    name = part(text, "display_information", "name")
    description = part(text, "display_information", "description")
    long_description = part(text, "display_information", "long_description")

    assert len(str(name)) <= 35
    assert len(str(description)) <= 140
    assert 175 <= len(str(long_description)) <= 4000


@both
def test_it_asks_for_the_scopes_that_the_code_uses(text: str) -> None:
    """Every method that is called has its scopes, and no scope is without one: least scopes."""
    used = {scope for method in methods_called() for scope in SCOPES[method]}

    scopes = part(text, "oauth_config", "scopes", "bot")
    assert isinstance(scopes, list)

    assert scopes == [*manifest.SCOPES, *manifest.OPTIONAL_SCOPES]
    assert methods_called() == set(SCOPES)
    assert sorted(scopes) == sorted({"commands", "app_mentions:read", "im:history"} | used)
    assert part(text, "oauth_config") == {"scopes": {"bot": scopes}}


@pytest.mark.parametrize("url", [None, URL])
def test_user_groups_take_a_scope_more(url: str | None) -> None:
    """Only where they are used, and nothing else differs."""
    without, scoped = manifest.text(url).splitlines(), manifest.text(url, groups=True).splitlines()

    assert [line for line in without if line not in scoped] == []
    assert [line for line in scoped if line not in without] == [
        "      - usergroups:read # read the user groups in ALLOWED_USERS"
    ]


@both
def test_it_names_the_command_that_the_code_answers(text: str) -> None:
    """Unescaped, so that a model id that looks like a host name arrives as it was typed."""
    commands = part(text, "features", "slash_commands")
    assert isinstance(commands, list)
    [command] = commands

    assert command["command"] == COMMAND
    assert re.fullmatch(r"/\S{1,31}", COMMAND)
    assert command["should_escape"] is False


@both
def test_direct_messages_go_both_ways(text: str) -> None:
    """They are the last way to reach somebody, and a way to ask."""
    assert part(text, "features", "app_home") == {
        "home_tab_enabled": True,
        "messages_tab_enabled": True,
        "messages_tab_read_only_enabled": False,
    }


@both
def test_it_names_the_surfaces_that_the_code_serves(text: str) -> None:
    """A shortcut that opens the picker, buttons and suggestions, and the event by which the Home tab is shown."""
    shortcuts = part(text, "features", "shortcuts")
    assert isinstance(shortcuts, list)
    [shortcut] = shortcuts
    interactivity, events = part(text, "settings", "interactivity"), part(text, "settings", "event_subscriptions")
    assert isinstance(interactivity, dict)
    assert isinstance(events, dict)

    assert (shortcut["type"], shortcut["callback_id"]) == ("global", PICKER)
    assert len(shortcut["name"]) <= 24
    assert interactivity["is_enabled"] is True
    assert events["bot_events"] == ["app_home_opened", "app_mention", "message.im"]
    assert ("message_menu_options_url" in interactivity) == ("request_url" in events) == (text == manifest.text(URL))
