"""What is asked of an OpenAI-compatible endpoint: its settings, its URL, one request."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from mkgen.document import canonical_json
from mkgen.errors import UserError
from mkgen.llm.keys import KEY_NAMES
from mkgen.llm.retry import Retry

#: Services that know the limit of an answer by its newer name only.
_NEWER = ("openai.com", "openai.azure.com")


@dataclass(frozen=True)
class EndpointSettings:
    """Which model is asked, where, and how."""

    model: str
    base_url: str
    """Up to and without `/chat/completions`."""
    key_names: tuple[str, ...] = KEY_NAMES
    """Environment variables; the first that is set holds the key. Without any, none is sent."""
    temperature: float | None = None
    """None: the server's own."""
    max_output_tokens: int = 16384
    seed: int | None = None
    """Sample i is asked for with seed + i."""
    stream: bool = True
    timeout: float = 600.0
    """Seconds that one attempt may take, from connecting to the last byte."""
    connect_timeout: float = 15.0
    most_bytes: int = 4 << 20
    """Longer answers are an error."""
    retry: Retry = field(default_factory=Retry)

    @property
    def identity(self) -> str:
        """What decides an answer, beside the prompt; neither key nor time limits."""
        return canonical_json({
            "kind": "http",
            "url": checked_url(self.base_url).geturl(),
            "model": self.model,
            "temperature": self.temperature,
            "max_output_tokens": self.max_output_tokens,
            "seed": self.seed,
        })  # fmt: skip

    def body(self, prompt: str, sample: int) -> dict[str, Any]:
        """The JSON of one request."""
        host = checked_url(self.base_url).hostname or ""
        newer = any(host == name or host.endswith("." + name) for name in _NEWER)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_completion_tokens" if newer else "max_tokens": self.max_output_tokens,
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.seed is not None:
            body["seed"] = self.seed + sample
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


def checked_url(text: str) -> SplitResult:
    """`text` as the base of an API. UserError, which does not repeat what may be a password."""
    try:
        url = urlsplit(text.rstrip("/"))
        named = bool(url.hostname) and url.port != 0 and not any(c.isspace() for c in text)
    except ValueError:
        named = False
    if not named or url.scheme not in ("http", "https"):
        raise UserError(
            "--base-url must be like https://api.openai.com/v1 or http://localhost:11434/v1"
        )
    if "@" in url.netloc or url.query or url.fragment:
        raise UserError(
            "--base-url must hold no user, password or query; the key comes from the environment"
        )
    return url


def is_here(url: SplitResult) -> bool:
    """Whether `url` is of this machine, by its name alone."""
    host = url.hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
