"""Tell people what the pipeline did: a webhook, an e-mail.

A notification never stops a pipeline: what goes wrong while it is sent comes back as a sentence.
Addresses hold tokens and passwords, so no message, log line or error of this module names more of
an address than its host.
"""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from forecasting.errors import ConfigError
from forecasting.masking import hide, masked
from pipelines.config import ScheduleConfig

Event = Literal["failed", "refused", "promoted", "drift"]

WEBHOOK_VARIABLE, SMTP_VARIABLE = "GATECAST_WEBHOOK", "GATECAST_SMTP"
TIMEOUT_SECONDS = 10.0
ATTEMPTS = 3
PAUSE_SECONDS = 1.0  # before the second attempt; doubles with each
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Notice:
    """One thing that happened to one model.

    Attributes
    ----------
    events
        What happened; the notice is sent when any of them is asked for.
    line
        A sentence for a person.
    facts
        Version, run id and the like, as plain values.
    """

    events: tuple[Event, ...]
    model: str
    line: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """Subject line of the letter: model and events."""
        return masked(f"[gatecast] {self.model}: {', '.join(self.events)}")

    def payload(self) -> dict[str, Any]:
        """The webhook's JSON; chat services show `text`, programs read the rest."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = masked(self.line)
        return {
            "text": f"{self.subject}\n{line}",
            "event": self.events[0],
            "events": list(self.events),
            "model": masked(self.model),
            "message": line,
            "at": now,
            "host": platform.node(),
            **{key: value for key, value in hide(self.facts).items() if value is not None},
        }

    def body(self) -> str:
        """The e-mail's text."""
        facts = [f"{key}: {value}" for key, value in hide(self.facts).items() if value is not None]
        return "\n".join([masked(self.line), "", *facts, f"host: {platform.node()}"]) + "\n"


@dataclass(frozen=True)
class MailTarget:
    """Where and how e-mail is handed over."""

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Literal["starttls", "implicit", "none"] = "starttls"


def notify(notice: Notice, config: ScheduleConfig, *, pause: float = PAUSE_SECONDS) -> list[str]:
    """Send a notice to every address of the config that asked for its events.

    The variables ``GATECAST_WEBHOOK`` and ``GATECAST_SMTP`` stand in for `webhook` and `smtp`, so
    that tokens need not be written into a file.

    Returns
    -------
    list of str
        What could not be sent and why; empty when all went well.
    """
    if not set(notice.events) & set(config.notify):
        return []
    problems = []
    webhook = os.environ.get(WEBHOOK_VARIABLE) or config.webhook
    if webhook:
        problems += _try("webhook", webhook, lambda: _post(webhook, notice.payload()), pause)
    smtp = os.environ.get(SMTP_VARIABLE) or config.smtp
    if smtp:
        problems += _try("e-mail", smtp, lambda: _mail(mail_target(smtp), notice), pause)
    return problems


def check_addresses(config: ScheduleConfig) -> None:
    """Refuse addresses that could never work, before a night passes without a word.

    Raises
    ------
    ConfigError
        Naming the key or variable, never the address.
    """
    webhook = os.environ.get(WEBHOOK_VARIABLE) or config.webhook
    if webhook:
        _check_webhook(webhook)
    smtp = os.environ.get(SMTP_VARIABLE) or config.smtp
    if smtp:
        mail_target(smtp)


def mail_target(url: str) -> MailTarget:
    """Read ``smtp://user:password@host:587/?from=a@b&to=c@d``.

    ``smtps://`` speaks TLS from the first byte. ``smtp://`` asks for STARTTLS, except on this
    machine or with ``&tls=none``; a password is never sent in the clear to another machine.
    """
    where = "schedule.smtp"
    form = "smtp://user:password@host:587/?from=a@example.org&to=b@example.org"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{where}: the port is no number; write it as {form}") from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ConfigError(f"{where}: not an SMTP address; write it as {form}")
    query = parse_qs(parts.query)
    sender = query.get("from", [""])[0]
    to = tuple(a.strip() for text in query.get("to", []) for a in text.split(",") if a.strip())
    if not sender or not to:
        raise ConfigError(f"{where}: both from= and to= are needed; write it as {form}")
    if any(not _plain_address(address) for address in (sender, *to)):
        raise ConfigError(f"{where}: from= and to= must be e-mail addresses; write it as {form}")
    local = parts.hostname in LOOPBACK
    mode = query.get("tls", [""])[0]
    if mode not in ("", "none", "starttls"):
        raise ConfigError(f"{where}: tls= must be none or starttls")
    tls: Literal["starttls", "implicit", "none"]
    if parts.scheme == "smtps":
        tls = "implicit"
    else:
        tls = "none" if mode == "none" or (local and not mode) else "starttls"
    if tls == "none" and parts.password and not local:
        raise ConfigError(
            f"{where}: tls=none would send the password in the clear to {parts.hostname}; "
            "leave tls=none out, or use smtps://"
        )
    return MailTarget(
        host=parts.hostname,
        port=port or {"implicit": 465, "starttls": 587, "none": 25}[tls],
        sender=sender,
        to=to,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
    )


def _plain_address(text: str) -> bool:
    local, at, domain = text.partition("@")
    return bool(local and at and domain) and not any(c.isspace() or c in "<>," for c in text)


def _try(kind: str, url: str, send: Callable[[], None], pause: float) -> list[str]:
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            send()
        except ConfigError as error:
            return [f"{kind} not sent: {error}"]
        except _RefusedError as error:
            return [f"{kind} to {_host(url)} not sent: {error}"]
        except Exception as error:
            # The text of a library's error may quote the address; its class says enough.
            problem = type(error).__name__
        else:
            return []
    return [f"{kind} to {_host(url)} not sent after {ATTEMPTS} attempts: {problem}"]


class _RefusedError(Exception):
    """An answer that another attempt would not change."""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "an unreadable address"
    except ValueError:
        return "an unreadable address"


def _check_webhook(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https") or _host(url).startswith("an "):
        raise ConfigError("schedule.webhook: not a URL that begins with http:// or https://")


def _post(url: str, payload: Mapping[str, Any]) -> None:
    import httpx

    _check_webhook(url)
    # httpx writes each requested URL, and with it the token, into its log at level INFO.
    with _Muted("httpx", "httpcore"):
        answer = httpx.post(url, json=payload, timeout=TIMEOUT_SECONDS, follow_redirects=False)
    if answer.status_code >= 500 or answer.status_code == 429:
        raise OSError(f"status {answer.status_code}")
    if answer.status_code >= 300:
        raise _RefusedError(f"it answered with status {answer.status_code}")


class _Muted:
    """Silence loggers below WARNING while something is sent."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.levels: dict[str, int] = {}

    def __enter__(self) -> None:
        import logging

        for name in self.names:
            logger = logging.getLogger(name)
            self.levels[name] = logger.level
            logger.setLevel(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        import logging

        for name, level in self.levels.items():
            logging.getLogger(name).setLevel(level)


def _mail(target: MailTarget, notice: Notice) -> None:
    import smtplib
    import ssl
    from email.message import EmailMessage

    message = EmailMessage()
    message["Subject"] = " ".join(notice.subject.split())
    message["From"] = target.sender
    message["To"] = ", ".join(target.to)
    message.set_content(notice.body())
    context = ssl.create_default_context()
    server: smtplib.SMTP
    if target.tls == "implicit":
        server = smtplib.SMTP_SSL(
            target.host, target.port, timeout=TIMEOUT_SECONDS, context=context
        )
    else:
        server = smtplib.SMTP(target.host, target.port, timeout=TIMEOUT_SECONDS)
    with server:
        if target.tls == "starttls":
            server.starttls(context=context)
        if target.user:
            try:
                server.login(target.user, target.password or "")
            except smtplib.SMTPAuthenticationError:
                raise _RefusedError("the user or the password is wrong") from None
        server.send_message(message)
