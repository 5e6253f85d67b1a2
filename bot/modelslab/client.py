"""The client of ModelsLab's Reload Model API.

Its documentation says what is known about the service, and what must not be assumed:
https://docs.modelslab.com/image-generation/community-models/reload-model and https://docs.modelslab.com/error-codes
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp

from bot.core.retry import retry_after
from bot.core.text import SAID_LIMIT, harmless, json_fields
from bot.errors import Failure, ModelsLabPermanentError, ModelsLabRetryableError
from bot.logs import Redactor
from bot.modelslab.lists import ListReader, ModelList
from bot.settings import Settings
from bot.settings.urls import host_of

PATH = "/api/v6/images/model_reload"
WALLET_PATH = "/api/wallet_balance"
PUBLIC_PATH = "/api/v4/dreambooth/model_list"
OWN_PATH = "/api/v3/finetune_list"

ATTEMPT_SECONDS = 15.0
"""For one attempt, in total."""

LIST_SECONDS = 60.0
"""The same for a list of models, which can be long."""

CONNECT_SECONDS = 5.0
"""For making a connection. If that fails, the request was never sent."""

ANSWER_LIMIT = 64 * 1024
"""How many bytes of an answer are read."""

RATE_LIMIT_WAIT = 30.0
"""Seconds to wait if a rate limit doesn't say how long: the number in ModelsLab's own messages."""

_ACCEPTED = ("success", "processing")

_REFUSED = ("error", "failed", "fail", "false")

# Parts of ModelsLab's messages, lower case. They decide which failure people read about, whatever the status is.
_HINTS: Mapping[str, Failure] = {
    r"rate limit|queued requests|too many (requests|attempts)|spam filter": Failure.RATE_LIMIT,
    r"(invalid|missing|wrong|expired) api key|api key (is )?(required|missing|invalid|not valid|expired)": Failure.KEY,
    r"(insufficient|not enough|out of) credits": Failure.CREDITS,
    r"premium subscription|upgrade your (plan|subscription)|subscription (has )?(expired|is required)": Failure.PLAN,
    r"model(.id)? (was )?(not found|does not exist|doesn't exist)|(selected|invalid) model": Failure.UNKNOWN_MODEL,
}
_BY_STATUS: Mapping[int, Failure] = {
    HTTPStatus.UNAUTHORIZED: Failure.KEY,
    HTTPStatus.PAYMENT_REQUIRED: Failure.CREDITS,
    HTTPStatus.FORBIDDEN: Failure.PLAN,
    HTTPStatus.REQUEST_TIMEOUT: Failure.DOWN,
    HTTPStatus.TOO_MANY_REQUESTS: Failure.RATE_LIMIT,
}

# An error that isn't one: "Model is reloading", "sdxl is already loaded, please wait", "Reload already in progress".
# That has to be all that it says: people must see anything else, because it may say why the model can't be loaded.
_UNDER_WAY = re.compile(
    r"(?!.*(\b(no|none|nothing|another|errors?|fail\w*|limit|maximum|out of)\b|(no|n\W)t\b))"
    r"((the|this|your) )?(model )?(\S+ )?"
    r"(((is|has|being|been|already|currently) )+(re)?load(ing|ed)"
    r"|reload(ing)? ((is|already|currently) )*(in progress|running|queued))"
    r"(\W{1,3}(please )?(wait|try again)[\w ]*)?[.!]*",
    re.DOTALL,
)

_REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""A refusal, even if the body doesn't say why. 404 and 405 say that there is no such endpoint."""

_ERRORS_DOCUMENTED = (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
"""With these, an error in ModelsLab's own shape is from ModelsLab. With others, a gateway may have given up on it."""


class ModelsLab:
    """Requests reloads, and reads the balance and the lists of models. Each is one POST."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session = session
        self._url = settings.modelslab_url
        self._host = host_of(self._url)
        self._key = settings.modelslab_api_key
        self._redact = Redactor(settings.secrets)

    async def reload(self, model_id: str) -> str:
        """Return after ModelsLab has accepted the reload. Raises ModelsLabError, which says why not.

        If the model is already loading or loaded, return what ModelsLab says about that, otherwise "".
        """
        fields = await self._call(PATH, {"model_id": model_id})
        return "" if _word(fields) in _ACCEPTED else self._said(fields)

    async def balance(self) -> str:
        """The balance of the account. This shows a bad key, and changes nothing. Raises the same errors as reload."""
        data = (await self._call(WALLET_PATH, {})).get("data")
        found = [data.get("balance"), data.get("currency")] if isinstance(data, dict) else []
        return harmless(self._redact(_flatten(found)), SAID_LIMIT)

    async def public_models(self, limit: int) -> ModelList:
        """List the public models. Raises the same errors as reload.

        The status of each model in the list is undocumented, and isn't used.
        """
        return await self._list(PUBLIC_PATH, limit)

    async def own_models(self, limit: int) -> ModelList:
        """List the account's own models. Raises the same errors as reload."""
        return await self._list(OWN_PATH, limit)

    async def _list(self, path: str, limit: int) -> ModelList:
        reader = ListReader(limit)
        async with self._posted(path, {}, LIST_SECONDS) as response:
            async for chunk in response.content.iter_any():
                reader.feed(chunk)
                if reader.ended:
                    break
        fields = json_fields(reader.head)
        if _is_success(response.status) and reader.found and _word(fields) in ("", *_ACCEPTED):
            return reader.models
        self._judge(response, fields)
        raise ModelsLabPermanentError(Failure.NO_SENSE, "no list")

    async def _call(self, path: str, fields: Mapping[str, str]) -> Mapping[str, object]:
        """The fields of an answer that accepts the request. Raises ModelsLabError for any other answer."""
        async with self._posted(path, fields, ATTEMPT_SECONDS) as response:
            body = await _read(response.content)
        return self._judge(response, json_fields(body))

    @asynccontextmanager
    async def _posted(
        self, path: str, fields: Mapping[str, str], seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Post once, to read the answer within so many seconds. Raises ModelsLabRetryableError if there is none."""
        try:
            async with self._session.post(
                self._url + path,
                json={"key": self._key, **fields},
                headers={"Accept-Encoding": "identity"},  # so that the limit counts the bytes that are read
                timeout=aiohttp.ClientTimeout(total=seconds, connect=CONNECT_SECONDS),
                allow_redirects=False,
            ) as response:
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise ModelsLabRetryableError(Failure.NO_ANSWER, _kind(error), host=self._host) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ModelsLabRetryableError(Failure.NO_ANSWER, _kind(error), unknown=True, host=self._host) from None

    def _judge(self, response: aiohttp.ClientResponse, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Return the fields if they accept the request, otherwise raise. The body counts more than the HTTP status."""
        word, text = _word(fields), _text(fields).lower()
        if _is_success(response.status) and word in _ACCEPTED:
            return fields
        failure = _failure(response.status, word, text)
        if failure in (Failure.DOWN, Failure.REFUSED, Failure.NO_SENSE) and _UNDER_WAY.fullmatch(text):
            return fields
        said, wait = self._said(fields) or f"HTTP {response.status}", _wait(fields, response.headers)
        if failure is Failure.RATE_LIMIT:
            raise ModelsLabRetryableError(failure, said, wait=RATE_LIMIT_WAIT if wait is None else wait)
        if failure is Failure.DOWN:
            refused = word == "error" and text != "" and response.status in _ERRORS_DOCUMENTED
            raise ModelsLabRetryableError(failure, said, unknown=not refused, wait=wait)
        unclear = failure in (Failure.NO_SENSE, Failure.REFUSED) and word not in _REFUSED
        unknown = unclear and _is_success(response.status)
        raise ModelsLabPermanentError(failure, said, unknown=unknown)

    def _said(self, fields: Mapping[str, object]) -> str:
        """ModelsLab's own words, on one short line, without secrets."""
        return harmless(self._redact(_text(fields)[: ANSWER_LIMIT // 8]), SAID_LIMIT)


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


async def _read(content: aiohttp.StreamReader) -> bytes:
    """At most ANSWER_LIMIT bytes of the body. Leaving the rest unread closes the connection."""
    try:
        return await content.readexactly(ANSWER_LIMIT)
    except asyncio.IncompleteReadError as all_of_it:
        return all_of_it.partial


def _word(fields: Mapping[str, object]) -> str:
    """ModelsLab's own status, in lower case: success, processing, error, failed; "" if there is none."""
    return str(fields.get("status", "")).lower()


def _text(fields: Mapping[str, object]) -> str:
    """What an answer says, also in the fields that older endpoints and gateways have."""
    said = next((text for name in ("message", "messege", "error", "detail") if (text := fields.get(name))), None)
    return _flatten([said, fields.get("errors"), fields.get("tip"), fields.get("tips")])


def _flatten(value: object) -> str:
    """The texts in a string, a list, or an object of lists, in order, on one line."""
    texts: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(reversed(item.values()))
        elif isinstance(item, list):
            waiting.extend(reversed(item))
        elif item is not None:
            texts.append(str(item))
    return " ".join(texts)


def _failure(status: int, word: str, text: str) -> Failure:
    """The kind of a failure, from the HTTP status if that is clear, otherwise from the text.

    A proxy or a firewall on the way can refuse, too, with a page that isn't JSON. That says nothing about the account.
    """
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Failure.DOWN
    by_status = _BY_STATUS.get(status)
    if by_status in (Failure.DOWN, Failure.RATE_LIMIT):
        return by_status
    if not (word or text):
        return Failure.NO_SENSE
    hinted = next((failure for hint, failure in _HINTS.items() if re.search(hint, text)), None)
    if found := by_status or hinted:
        return found
    if _is_success(status) and word and "try again" in text:
        return Failure.DOWN
    return Failure.REFUSED if word or status in _REFUSALS else Failure.NO_SENSE


def _wait(fields: Mapping[str, object], headers: Mapping[str, str]) -> float | None:
    """The pause that ModelsLab asks for, in seconds: the body's retry_after, otherwise the Retry-After header."""
    asked = retry_after(fields.get("retry_after"))
    return retry_after(headers.get("Retry-After")) if asked is None else asked


def _kind(error: Exception) -> str:
    """What broke, in a few words. The exception's own text may contain addresses and more."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy refused, HTTP {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    return "no answer in time" if isinstance(error, TimeoutError) else "the connection broke"
