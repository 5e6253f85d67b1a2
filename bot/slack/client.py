"""Calls of Slack's Web API. Everything that can go wrong becomes a SlackError.

https://docs.slack.dev/apis/web-api/using-the-web-api#errors
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.core import timing
from bot.core.retry import Backoff, retry_after
from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.urls import host_of, is_loopback

CALL_SECONDS = 10
"""For one call, in total."""

RESPOND_SECONDS = 10.0
"""For one use of a response_url, in total."""

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

_NO_SENSE = "no_sense"

_CODE = re.compile(r"\w{1,80}", re.ASCII)
"""An error code, which goes to the log. Anything else isn't one of Slack's."""

_NOT_OK = re.compile(rb'"ok"\s*:\s*false')

_SLACK_HOSTS = ("slack.com", "slack-gov.com")

GROUP_METHOD = "usergroups.users.list"

ANSWER_LIMIT = 256 * 1024
ANSWER_LIMITS: Mapping[str, int] = {GROUP_METHOD: 4 * 1024 * 1024}
"""How many bytes of an answer a BoundedResponse takes, by method. Each member of a user group takes 14."""

ProxyFor = Callable[[str], str | None]
"""Returns the proxy for a URL, or None for a direct connection."""

log = structlog.get_logger(__name__)


def quiet(name: str) -> logging.Logger:
    """A logger for a library. Without a level of its own, the SDK would log every request."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.ERROR)
    return logger


class AnswerTooLongError(aiohttp.ClientPayloadError):
    """An answer has more bytes than its method allows."""


class RedirectRefusedError(aiohttp.ClientError):
    """Slack redirects no call: it would be something between the bot and Slack that wants the message."""


def no_redirects() -> aiohttp.TraceConfig:
    """For a session: the SDK would follow redirects. The call then raises RedirectRefusedError."""

    async def refuse(*_: object) -> None:
        raise RedirectRefusedError

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace


class BoundedResponse(aiohttp.ClientResponse):
    """A session's response_class with a limit: the SDK reads whole answers into memory, no matter how long they are."""

    async def read(self) -> bytes:
        """The whole answer. Raises AnswerTooLongError."""
        if self._body is None:
            limit = ANSWER_LIMITS.get(self.url.name, ANSWER_LIMIT)
            body = await _beginning(self, limit + 1)
            if len(body) > limit:
                raise AnswerTooLongError
            self._body = body
        return self._body


class SlackClient:
    """The Web API, called with the bot's token. The SDK's own retries are off, because the worker retries."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token: str,
        base_url: str,
        observe: Callable[[str], AbstractContextManager[None]] = lambda _method: nullcontext(),
        proxy_for: ProxyFor = lambda _url: None,
    ) -> None:
        """observe counts a call of a method, and its errors."""
        self._session = session
        self._base_url = base_url
        self._observe = observe
        self._proxy_for = proxy_for
        self.client = AsyncWebClient(
            token=token,
            base_url=base_url,
            timeout=CALL_SECONDS,
            session=session,
            logger=quiet("slack_sdk.web"),
            retry_handlers=[],
        )
        self.client.proxy = proxy_for(base_url)  # set afterwards: for None the SDK would read HTTPS_PROXY by itself
        self.token_fault = ""
        """Why Slack rejects the bot's token, or empty."""

    async def call(self, method: str, **fields: object) -> Mapping[str, object]:
        """Call a method with the bot's token. Raises SlackRetryableError or SlackPermanentError."""
        return await self._answer(method, self.client.api_call(method, json=fields))

    async def read(self, method: str, **fields: str) -> Mapping[str, object]:
        """The same for a method that only reads and takes no JSON."""
        return await self._answer(method, self.client.api_call(method, http_verb="GET", params=fields))

    async def _answer(self, method: str, call: Awaitable[AsyncSlackResponse]) -> Mapping[str, object]:
        try:
            with self._observe(method):
                answer = await translated(call, host_of(self._base_url))
        except SlackError as failed:
            if failed.code in TOKEN_FAULTS:
                self.token_fault = failed.code
            elif isinstance(failed, SlackPermanentError):
                self.token_fault = ""  # Slack checks the token first
            raise
        self.token_fault = ""
        return answer

    async def respond(self, response_url: str, **fields: object) -> None:
        """Post through the response_url of a command or an interaction, which needs no token.

        Raises SlackRetryableError if it may work later, SlackPermanentError if the response_url is used up or isn't
        Slack's. https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
        """
        body = {"response_type": "in_channel", "replace_original": False, **fields}
        with self._observe("response_url"):
            if not self._is_slack(response_url):
                raise SlackPermanentError("response_url_foreign")
            await self._respond(response_url, body)

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
        api = urlsplit(self._base_url)
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        host = parts.hostname or ""
        if parts.scheme == "http":
            return is_loopback(host) and is_loopback(api.hostname or "")
        of_slack = any(host == known or host.endswith(f".{known}") for known in _SLACK_HOSTS)
        return parts.scheme == "https" and (of_slack or host == api.hostname)

    async def _respond(self, response_url: str, body: Mapping[str, object]) -> None:
        try:
            async with self._session.post(
                response_url,
                json=body,
                timeout=aiohttp.ClientTimeout(total=RESPOND_SECONDS),
                allow_redirects=False,
                proxy=self._proxy_for(response_url),
            ) as response:
                answer = (await _beginning(response, 4096)).strip()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            host = host_of(response_url)
            raise SlackRetryableError(f"response_url_{type(error).__name__}", host=host) from None
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise SlackRetryableError("response_url_ratelimited", retry_after(response.headers.get("Retry-After")))
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise SlackRetryableError(f"response_url_{response.status}")
        if response.status >= HTTPStatus.MULTIPLE_CHOICES or _NOT_OK.search(answer):
            raise SlackPermanentError("response_url_spent")
        if answer.startswith(b"<"):  # a page of something between the bot and Slack
            raise SlackRetryableError("response_url_no_sense")


async def _beginning(response: aiohttp.ClientResponse, length: int) -> bytes:
    """The first length bytes of an answer, or all of a shorter one."""
    try:
        return await response.content.readexactly(length)
    except asyncio.IncompleteReadError as all_of_it:
        return all_of_it.partial


async def translated(call: Awaitable[AsyncSlackResponse], host: str) -> Mapping[str, object]:
    """The fields of host's answer to an SDK call. Raises SlackPermanentError, SlackRetryableError."""
    try:
        response = await call
    except SlackApiError as error:
        raise _translate(error) from None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
        raise SlackRetryableError(type(error).__name__, host=host) from None
    except AttributeError:  # the SDK expects an object in every answer with status 200
        raise SlackRetryableError(_NO_SENSE) from None
    if not isinstance(response.data, dict):
        raise SlackRetryableError(_NO_SENSE)
    return response.data


def _translate(error: SlackApiError) -> SlackError:
    """The SlackError for an error of the SDK. If Slack's answer isn't JSON, that carries only the HTTP response."""
    response: object = error.response
    if not isinstance(response, AsyncSlackResponse) or not isinstance(response.data, dict):
        return SlackRetryableError(_NO_SENSE)
    code = str(response.get("error") or "")
    wait = retry_after(response.headers.get("Retry-After"))
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return SlackRetryableError("ratelimited", wait)
    if not _CODE.fullmatch(code) or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return SlackRetryableError(f"http_{response.status_code}")
    if code in _PERMANENT:
        return SlackPermanentError(code)
    return SlackRetryableError(code, wait, refused=code not in _OUTAGE)
