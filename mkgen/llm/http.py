"""Any endpoint with OpenAI's chat completions: hosted services, vLLM, llama.cpp, Ollama.

The key is read from the environment when a request is made and leaves in the Authorization header
of that request; nothing here keeps it, and what the server sends back is searched for it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

from mkgen.document import canonical_json, content_hash
from mkgen.errors import MissingError, UserError
from mkgen.llm import wire
from mkgen.llm.endpoint import EndpointSettings, checked_url, is_here
from mkgen.llm.keys import key_of, redacted
from mkgen.llm.provider import Provider, ProviderError, Reply
from mkgen.llm.retry import Deadline, TransientError, retry_after

if TYPE_CHECKING:
    import httpx

_EXCERPT = 200
_ERROR_BYTES = 64 << 10
_RETRIED = (429, 500, 502, 503, 504, 529)
_REMEDIES = {
    400: "it does not take this request: look at --model, --temperature and --max-output-tokens, "
    "or try --no-stream",
    402: "the account has no credit",
    403: "the key may not use this model: look at its rights, or choose another --model",
    404: "look at --base-url, which usually ends in /v1, and at --model",
    413: "the prompt is too long for this server",
}


class _RefusedError(Exception):
    """A failure that another attempt would not mend; its text is for the user."""


class Endpoint(Provider):
    """A model behind `POST BASE_URL/chat/completions`."""

    def __init__(
        self, settings: EndpointSettings, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        """`tell` hears of attempts that failed. UserError for a wrong URL; MissingError."""
        self._settings = settings
        self._url = checked_url(settings.base_url)
        self._tell = tell
        library = _library()
        try:
            library.URL(settings.base_url)
        except library.InvalidURL as error:
            raise UserError(f"--base-url is no URL: {error}") from error

    @property
    def name(self) -> str:
        """See Provider."""
        return f"{self._settings.model} at {self._url.netloc}"

    @property
    def identity(self) -> str:
        """See Provider."""
        return self._settings.identity

    def ask(self, prompt: str, sample: int) -> Reply:
        """See Provider; asks again after what may pass."""
        retry, began, attempt = self._settings.retry, time.monotonic(), 0
        while True:
            attempt += 1
            started = time.monotonic()
            left = began + retry.total - started
            outcome = self._outcome(prompt, sample, min(self._settings.timeout, left))
            if isinstance(outcome, wire.Answer):
                return self._reply(outcome, time.monotonic() - started)
            if isinstance(outcome, str):
                raise ProviderError(outcome)
            wait = retry.wait(attempt, outcome.wait)
            spent = time.monotonic() - began
            if attempt >= retry.attempts or spent + wait >= retry.total:
                raise ProviderError(self._gave_up(outcome, attempt, spent))
            self._tell(f"{self.name}: {outcome}; attempt {attempt + 1} in {wait:.1f} s")
            time.sleep(wait)

    def _outcome(
        self, prompt: str, sample: int, seconds: float
    ) -> wire.Answer | TransientError | str:
        """The answer, a failure that may pass, or the text of one that will not.

        An exception that left this method would carry frames that know the key.
        """
        try:
            return self._attempt(prompt, sample, seconds)
        except TransientError as error:
            return TransientError(self._excerpt(str(error)), error.wait)
        except _RefusedError as error:
            return str(error)
        except wire.WireError as error:
            began = f"; it begins: {self._excerpt(error.body)!r}" if error.body else ""
            return (
                f"{self._url.netloc} gave no chat completion: {error}{began}. --base-url must be "
                "of an OpenAI-compatible API; it usually ends in /v1"
            )

    def _attempt(self, prompt: str, sample: int, seconds: float) -> wire.Answer:
        library = _library()
        headers = self._headers(prompt, sample)
        with Deadline(seconds) as deadline, self._client(seconds) as client:
            try:
                with client.stream(
                    "POST",
                    self._url.geturl() + "/chat/completions",
                    content=canonical_json(self._settings.body(prompt, sample)).encode(),
                    headers=headers,
                    extensions={"trace": deadline.trace},
                ) as response:
                    self._check_status(response)
                    return self._read(response)
            except (library.TransportError, TransientError, wire.WireError) as error:
                if deadline.passed or isinstance(error, library.TimeoutException):
                    raise TransientError(f"no whole answer within {seconds:.3g} s") from error
                if isinstance(error, library.TransportError):
                    said = str(error) or type(error).__name__
                    raise TransientError(f"the connection failed ({said})") from error
                raise

    def _client(self, seconds: float) -> httpx.Client:
        library = _library()
        timeout = library.Timeout(seconds, connect=min(seconds, self._settings.connect_timeout))
        try:
            # a proxy for other hosts must not see what is meant for this one
            made: httpx.Client = library.Client(
                verify=_tls(),
                timeout=timeout,
                follow_redirects=False,
                trust_env=not is_here(self._url),
            )
        except (ImportError, ValueError, OSError) as error:
            # its text may hold the password of a proxy
            raise _RefusedError(
                "the proxy or certificates that the environment names cannot be used "
                f"({type(error).__name__}): look at HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
            ) from error
        return made

    def _headers(self, prompt: str, sample: int) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if self._settings.stream else "application/json",
            "Accept-Encoding": "identity",  # a compressed answer could be of any size
            "Idempotency-Key": content_hash(self.identity, prompt, str(sample)),
        }
        try:
            found = key_of(self._settings.key_names)
        except ValueError as error:
            raise _RefusedError(f"{error}; set this environment variable again") from error
        if found is None:
            return headers
        if self._url.scheme == "http" and not is_here(self._url):
            raise _RefusedError(
                f"the key in {found[0]} would travel unencrypted to {self._url.netloc}: use https, "
                f"a tunnel to localhost, or run without {found[0]}"
            )
        return headers | {"Authorization": f"Bearer {found[1]}"}

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        where = self._url.netloc
        if 300 <= status < 400:
            to = self._excerpt(response.headers.get("location", "?"))
            raise _RefusedError(
                f"{where} answered {status} and sends on to {to}; mkgen does not follow, as the "
                "key would travel there: if you trust it, give it as --base-url"
            )
        said = self._excerpt(wire.error_text(_read_most(response, _ERROR_BYTES)))
        if status in _RETRIED:
            wait = retry_after(response.headers.get("retry-after"))
            raise TransientError(f"HTTP {status}: {said}", wait)
        remedy = self._of_key() if status == 401 else _REMEDIES.get(status, "")
        raise _RefusedError(
            f"{where} answered {status}: {said}" + (f"; {remedy}" if remedy else "")
        )

    def _of_key(self) -> str:
        names = self._settings.key_names
        found = key_of(names)
        if found is None:
            return f"no key was sent: set the environment variable {names[0]}"
        return f"the key in {found[0]} is not taken: set this environment variable to a valid one"

    def _read(self, response: httpx.Response) -> wire.Answer:
        most = self._settings.most_bytes
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return _read_events(response, most)
        body = _read_most(response, most)
        if len(body) > most:
            raise wire.WireError(f"more than {most} bytes", body[:_ERROR_BYTES].decode("latin-1"))
        try:
            return wire.whole_answer(body)
        except wire.WireError as error:
            if {"content-length", "transfer-encoding"}.isdisjoint(response.headers):
                # nothing but the end of the connection, which may have come early, ends this body
                raise TransientError("the answer was cut off, or is not JSON") from error
            raise

    def _reply(self, answer: wire.Answer, seconds: float) -> Reply:
        names = self._settings.key_names
        return Reply(
            text=redacted(answer.text, names),
            model=redacted(answer.model, names) or self._settings.model,
            finish=answer.finish,
            usage=answer.usage,
            seconds=seconds,
        )

    def _excerpt(self, text: str) -> str:
        """The beginning of what came; a key is looked for before anything is cut off."""
        return " ".join(redacted(text, self._settings.key_names).split())[:_EXCERPT]

    def _gave_up(self, last: TransientError, attempts: int, spent: float) -> str:
        times = "once" if attempts == 1 else f"{attempts} times"
        text = f"{self.name}: asked {times} in {spent:.0f} s, no answer; the last time: {last}"
        if last.wait is not None:
            return f"{text}. The server asks to wait {last.wait:.0f} s: run the command again then"
        return (
            f"{text}. Look whether the server runs and --base-url is right, or raise "
            "--llm-timeout; what was answered before is kept"
        )


def _read_events(response: httpx.Response, most: int) -> wire.Answer:
    stream = wire.EventStream(most)
    try:
        for data in response.iter_raw():
            stream.feed(data)
            if stream.done:
                break
    except _library().TransportError:
        if not stream.whole:  # else nothing but the count of tokens is missing
            raise
    return stream.answer()


def _read_most(response: httpx.Response, most: int) -> bytes:
    """The body; of a longer one, a little more than `most` bytes."""
    body = bytearray()
    for data in response.iter_raw():
        body += data
        if len(body) > most:
            break
    return bytes(body)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    made: ssl.SSLContext = _library().create_ssl_context()  # reading certificates takes a while
    return made


def _library() -> ModuleType:
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise MissingError(
            "--base-url needs httpx, which is not installed: pip install 'mkgen[llm]'"
        ) from error
    return httpx
