"""Calls to Slack's Web API. Everything that can go wrong becomes a SlackError.

The SDK's client isn't used: it follows redirects, reads answers of any length, and takes proxies from the environment.
https://docs.slack.dev/apis/web-api/using-the-web-api#errors
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import structlog

from bot import metrics
from bot.core import timing
from bot.core.retry import Backoff, retry_after
from bot.core.text import json_fields
from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.settings import Settings
from bot.settings.urls import host_of, is_loopback

CALL_SECONDS = 10.0
"""For one call, or one use of a response_url, in total."""

ANSWER_TRIES = 4
"""How often an answer to a person is tried."""

TOKEN_FAULTS = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"})
"""What Slack answers if a token is invalid or no longer valid."""

# The same call would get the same answer tomorrow. Every other error can pass: the workspace moves to an organisation,
# a scope is missing until the app is reinstalled, Slack has a new code for something.
_PERMANENT = frozenset(
    {
        # the channel
        *("channel_not_found", "is_archived", "is_inactive", "not_in_channel", "user_not_in_channel"),
        *("restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel"),
        *("restricted_action_thread_locked", "restricted_action_non_threadable_channel", "messages_tab_disabled"),
        *("cannot_reply_to_message", "method_not_supported_for_channel_type"),
        # the person or the group
        *("user_not_found", "user_not_visible", "user_disabled", "cannot_dm_bot", "invalid_user_combination"),
        *("no_such_subteam", "plan_upgrade_required"),
        # the message, or another argument
        *("msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "no_text"),
        *("message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed", "invalid_arguments"),
        # a token of another kind
        "not_allowed_token_type",
    }
)

# Slack itself has a problem, or wants fewer calls.
_OUTAGE = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)

_CODE = re.compile(r"\w{1,80}", re.ASCII)
"""An error code, which goes to the log. Anything else isn't one of Slack's."""

_NOT_OK = re.compile(rb'"ok"\s*:\s*false')

_SLACK_HOSTS = ("slack.com", "slack-gov.com")

GROUP_METHOD = "usergroups.users.list"

ANSWER_LIMIT = 256 * 1024
ANSWER_LIMITS: Mapping[str, int] = {GROUP_METHOD: 4 * 1024 * 1024}
"""How many bytes an answer can have, by method. Each member of a user group takes 14."""

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """What came back: the status, the headers, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def wait(self) -> float | None:
        """The pause that Slack asks for, in seconds."""
        return retry_after(self.headers.get("Retry-After"))


class SlackClient:
    """The Web API, called with the bot's token. Nothing is tried again here, because the worker does that."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        """The session limits the time of a call."""
        self._session = session
        self._settings = settings
        self.token_fault = ""
        """Why Slack rejects the bot's token, or empty."""

    async def call(self, method: str, **fields: object) -> Mapping[str, object]:
        """Call a method with the bot's token. Raises SlackRetryableError or SlackPermanentError."""
        return await self._called(method, "POST", json=fields)

    async def read(self, method: str, **fields: str) -> Mapping[str, object]:
        """The same for a method that only reads and takes no JSON."""
        return await self._called(method, "GET", params=fields)

    async def _called(self, method: str, verb: str, **request: object) -> Mapping[str, object]:
        try:
            with metrics.slack_call(method):
                answer, _ = await self.ask(method, self._settings.slack_bot_token, verb, **request)
        except SlackError as failed:
            if failed.code in TOKEN_FAULTS:
                self.token_fault = failed.code
            elif isinstance(failed, SlackPermanentError):
                self.token_fault = ""  # Slack checks the token first
            raise
        self.token_fault = ""
        return answer

    async def ask(
        self, method: str, token: str, verb: str = "POST", **request: object
    ) -> tuple[Mapping[str, object], Mapping[str, str]]:
        """Call a method with any token, and return the fields and the headers of the answer. Raises as call() does."""
        url, limit = self._settings.slack_api_url + method, ANSWER_LIMITS.get(method, ANSWER_LIMIT)
        content_type = "application/json; charset=utf-8" if "json" in request else "application/x-www-form-urlencoded"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}  # Slack refuses aiohttp's own
        answer = await self._send(verb, url, limit, headers=headers, **request)
        fields = json_fields(answer.body)
        code = str(fields.get("error") or "")
        if answer.status == HTTPStatus.OK and fields.get("ok") is True:
            return fields, answer.headers
        if answer.status == HTTPStatus.OK and not fields:
            raise SlackRetryableError("no_sense")
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise SlackRetryableError("ratelimited", answer.wait)
        if not _CODE.fullmatch(code) or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise SlackRetryableError(f"http_{answer.status}")
        if code in _PERMANENT:
            raise SlackPermanentError(code)
        raise SlackRetryableError(code, answer.wait, refused=code not in _OUTAGE)

    async def respond(self, response_url: str, **fields: object) -> None:
        """Post through the response_url of a command or an interaction, which needs no token.

        Raises SlackRetryableError if it may work later, SlackPermanentError if the response_url is used up or isn't
        Slack's. https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
        """
        body = {"response_type": "in_channel", "replace_original": False, **fields}
        with metrics.slack_call("response_url"):
            if not self._is_slack(response_url):
                raise SlackPermanentError("response_url_foreign")
            try:
                answer = await self._send("POST", response_url, ANSWER_LIMIT, json=body)
            except SlackRetryableError as failed:
                raise SlackRetryableError(f"response_url_{failed.code}", host=failed.host) from None
            if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                raise SlackRetryableError("response_url_ratelimited", answer.wait)
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise SlackRetryableError(f"response_url_{answer.status}")
            if answer.status >= HTTPStatus.MULTIPLE_CHOICES or _NOT_OK.search(answer.body):
                raise SlackPermanentError("response_url_spent")
            if answer.body.strip().startswith(b"<"):  # a page of something between the bot and Slack
                raise SlackRetryableError("response_url_no_sense")

    async def patiently(self, call: Callable[[], Awaitable[object]]) -> None:
        """Make a call that answers a person, a few times if it may work later. Raises SlackError for the last one."""
        pauses = Backoff(timing.POST_RETRY, timing.POST_RETRY_MOST)
        for _ in range(ANSWER_TRIES - 1):
            try:
                await call()
            except SlackRetryableError as failed:
                await asyncio.sleep(pauses.pause(failed.wait))
            else:
                return
        await call()

    async def reply(self, response_url: str, text: str, **more: object) -> None:
        """Send an ephemeral message to the person whose response_url this is. Best-effort: a failure is only logged."""
        try:
            await self.patiently(partial(self.respond, response_url, response_type="ephemeral", text=text, **more))
        except SlackError as failed:
            log.warning("answer_not_sent", reason=failed.code)

    def _is_slack(self, url: str) -> bool:
        """Whether a URL is on one of Slack's hosts, or on the host of SLACK_API_URL."""
        api = urlsplit(self._settings.slack_api_url)
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        host = parts.hostname or ""
        if parts.scheme == "http":
            return is_loopback(host) and is_loopback(api.hostname or "")
        of_slack = any(host == known or host.endswith(f".{known}") for known in _SLACK_HOSTS)
        return parts.scheme == "https" and (of_slack or host == api.hostname)

    async def _send(self, verb: str, url: str, limit: int, **request: Any) -> Answer:  # noqa: ANN401 - aiohttp's own
        """Send one request, and read the answer, which can have limit bytes. Raises SlackRetryableError.

        Slack redirects nothing: what does is something between the bot and Slack that wants the message.
        """
        proxy = self._settings.proxy_for(url)
        try:
            async with self._session.request(verb, url, proxy=proxy, allow_redirects=False, **request) as response:
                try:
                    await response.content.readexactly(limit + 1)
                except asyncio.IncompleteReadError as all_of_it:
                    return Answer(response.status, response.headers, all_of_it.partial)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise SlackRetryableError(type(error).__name__, host=host_of(url)) from None
        raise SlackRetryableError("too_long", host=host_of(url))
