"""The Slack app's manifest, as text to paste on Slack's app page. It requests only what the code needs.

https://docs.slack.dev/reference/app-manifest
"""

from collections.abc import Mapping

from bot.core.command import SHORTCUT, mention_of
from bot.settings.reader import COMMAND

SCOPES: Mapping[str, str] = {
    "commands": "the slash command",
    "chat:write": "post in channels it has joined",
    "chat:write.public": "post in public channels it hasn't joined",
    "im:write": "send direct messages",
    "app_mentions:read": "answer mentions, in threads too",
}
"""What the bot's token can do, and what for: https://docs.slack.dev/reference/scopes."""

OPTIONAL_SCOPES: Mapping[str, str] = {"im:history": "optional: answer direct messages"}
"""Without this one and the event message.im, everything else works."""

GROUP_SCOPE = "usergroups:read"
GROUP_SCOPES: Mapping[str, str] = {GROUP_SCOPE: "read the user groups in ALLOWED_USERS"}
"""Also needed if the allowlist has user groups."""

EVENTS_PATH = "/slack/events"

_TEMPLATE = """\
# The Slack app of reload-model: paste it at https://api.slack.com/apps > Create New App > From a manifest.
display_information:
  name: "{name}"
  description: Reloads an idle ModelsLab model, and pings you when it should be ready.
  long_description: >-
    ModelsLab unloads an image model after seven idle days. {command} asks ModelsLab
    to load it again, and mentions you in the channel about two minutes later, when the model should be ready.
    Only people whom the operator of this app has listed, or an admin has added, can use it.
  background_color: "#1d3557"
features:
  app_home:
    home_tab_enabled: true
    # Direct messages: reminders, answers where the bot can't post, and commands that people write to it.
    messages_tab_enabled: true
    messages_tab_read_only_enabled: false
  bot_user:
    display_name: "{bot}"
    always_online: true
  shortcuts:
    - name: Reload a model
      type: global
      callback_id: {picker}
      description: Pick a ModelsLab model to reload
  slash_commands:
    - command: {command}
{url}      description: Reload an idle ModelsLab model
      usage_hint: model-id | status | history | help
      # With escaping, Slack would put a model ID that looks like a host name in angle brackets.
      should_escape: false
oauth_config:
  scopes:
    bot:
{scopes}settings:
  event_subscriptions:
{events_url}    bot_events:
      - app_home_opened # the Home tab
      - app_mention # mentions
      - message.im # optional: direct messages
  interactivity:
    is_enabled: true
{actions_url}  org_deploy_enabled: false
  socket_mode_enabled: {socket_mode}
  token_rotation_enabled: false
"""

# Slack requests the picker's suggestions at a URL of their own.
_ACTIONS_URLS = """\
    request_url: {url}
    message_menu_options_url: {url}
"""


def text(url: str | None = None, *, groups: bool = False, command: str = COMMAND) -> str:
    """The manifest in YAML, for Socket Mode or, with the bot's address as url, for HTTP mode.

    url has no trailing slash. groups is whether the allowlist has user groups, command the slash command.
    """
    scopes = {**SCOPES, **OPTIONAL_SCOPES, **(GROUP_SCOPES if groups else {})}
    return _TEMPLATE.format(
        command=command,
        scopes="".join(f"      - {scope} # {use}\n" for scope, use in scopes.items()),
        bot=mention_of(command)[1:],
        name=command[1:].replace("-", " ").title(),
        picker=SHORTCUT,
        url=f"      url: {url}{EVENTS_PATH}\n" if url else "",
        events_url=f"    request_url: {url}{EVENTS_PATH}\n" if url else "",
        actions_url=_ACTIONS_URLS.format(url=f"{url}{EVENTS_PATH}") if url else "",
        socket_mode="false" if url else "true",
    )
