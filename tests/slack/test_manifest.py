"""The Slack app's manifest asks for what the code uses, and for no more."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from ruamel.yaml import YAML

from bot.core.command import SHORTCUT, ReloadModels, parse
from bot.settings.reader import COMMAND
from bot.slack import manifest

ROOT = Path(__file__).parent.parent.parent
SCHEMA = ROOT / "tests" / "data" / "slack-manifest.schema.2.0.0.json"
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

MANIFEST: Any = YAML(typ="safe").load(manifest.text())
"""For Socket Mode. What differs over HTTP is a test of its own."""


def lines_added(less: str, more: str) -> list[str]:
    """The lines of one text that another lacks."""
    return [line for line in more.splitlines() if line not in less.splitlines()]


def test_a_second_app_has_names_of_its_own() -> None:
    """Its command, the bot's display name, which people mention, and its own."""
    assert [line.strip() for line in lines_added(manifest.text(), manifest.text(command="/reload-model-dev"))] == [
        'name: "Reload Model Dev"',
        "ModelsLab unloads an image model after seven idle days. /reload-model-dev asks ModelsLab",
        'display_name: "reload-model-dev"',
        "- command: /reload-model-dev",
    ]
    assert parse("@reload-model-dev sdxl", "reload-model-dev") == ReloadModels(("sdxl",))


def test_over_http_only_the_addresses_differ() -> None:
    """The address is in each place that needs it, and Socket Mode is off. The file, for pasting, is printed."""
    assert (ROOT / "manifest.yml").read_text(encoding="utf-8") == manifest.text()
    assert lines_added(manifest.text(), manifest.text(URL)) == [
        "      url: https://bot.example.com/slack/events",
        "    request_url: https://bot.example.com/slack/events",
        "    request_url: https://bot.example.com/slack/events",
        "    message_menu_options_url: https://bot.example.com/slack/events",
        "  socket_mode_enabled: false",
    ]
    assert lines_added(manifest.text(URL), manifest.text()) == ["  socket_mode_enabled: true"]


@pytest.mark.parametrize("url", [None, URL])
def test_user_groups_need_one_more_scope(url: str | None) -> None:
    """Nothing else differs."""
    scope = ["      - usergroups:read # read the user groups in ALLOWED_USERS"]

    assert lines_added(manifest.text(url), manifest.text(url, groups=True)) == scope
    assert lines_added(manifest.text(url, groups=True), manifest.text(url)) == []


@pytest.mark.parametrize("text", [manifest.text(), manifest.text(URL)], ids=["socket", "http"])
def test_it_is_valid(text: str) -> None:
    """Slack's own schema takes it, and so do limits that https://docs.slack.dev/reference/app-manifest states."""
    found = YAML(typ="safe").load(text)
    shown = found["display_information"]

    assert [error.message for error in Draft7Validator(json.loads(SCHEMA.read_text())).iter_errors(found)] == []
    assert len(shown["name"]) <= 35
    assert len(shown["description"]) <= 140
    assert 175 <= len(shown["long_description"]) <= 4000


def test_it_asks_for_the_scopes_that_the_code_uses() -> None:
    """Every method that is called has its scopes, and there is no other scope."""
    modules = [path for path in (ROOT / "bot").rglob("*.py") if "sandbox" not in path.relative_to(ROOT).parts]
    sources = "".join(path.read_text(encoding="utf-8") for path in modules)
    called = set(re.findall(r"""slack\.call\(\s*["']([\w.]+)["']""", sources))
    scopes = MANIFEST["oauth_config"]["scopes"]["bot"]

    assert called == set(SCOPES)
    assert scopes == [*manifest.SCOPES, *manifest.OPTIONAL_SCOPES]
    assert set(scopes) == {"commands", "app_mentions:read", "im:history"}.union(*SCOPES.values())
    assert MANIFEST["oauth_config"] == {"scopes": {"bot": scopes}}


def test_it_names_what_the_code_serves() -> None:
    """The command is not escaped: an ID like a host name arrives as typed. Direct messages go both ways."""
    features, settings = MANIFEST["features"], MANIFEST["settings"]
    [command], [shortcut] = features["slash_commands"], features["shortcuts"]
    interactivity, events = settings["interactivity"], settings["event_subscriptions"]

    assert (command["command"], command["should_escape"]) == (COMMAND, False)
    assert (shortcut["type"], shortcut["callback_id"]) == ("global", SHORTCUT)
    assert len(shortcut["name"]) <= 24
    assert features["app_home"] == {
        "home_tab_enabled": True,
        "messages_tab_enabled": True,
        "messages_tab_read_only_enabled": False,
    }
    assert interactivity["is_enabled"] is True
    assert events["bot_events"] == ["app_home_opened", "app_mention", "message.im"]
