"""Passwords, tokens and keys, taken out of what is shown, logged, stored or raised.

Which text is a secret is told by its place: in a URL's authority, behind a name such as ``token``,
in a header, in the path of a chat's webhook. Where a secret might end in two places the later one
is taken: too much is hidden rather than too little.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from forecasting.errors import GatecastError

HIDDEN = "***"
SHORTEST = 4  # characters; a shorter secret is not looked for outside its place: words hold it

# Names whose value is a secret wherever they stand.
_STRONG = (
    r"[\w.-]{0,40}(?:passw(?:or)?d|passphrase|pwd|secret|token|signature|credential|authorization"
    r"|(?:api|access|account|auth|shared|private|subscription|storage|master)[_-]?key)[\w.-]{0,40}"
)
# Names whose value is a secret in a query, where nobody writes prose; `code`, `se`, `sig` are
# Azure's.
_ASKED = rf"(?:{_STRONG}|[\w.-]{{0,40}}key(?:[_-]?id)?|sig|se|code|pw|pass|auth|jwt|odbc_connect)"
_SENTENCE = r"[\"',:.)\]}>]+(?:\s|$)"  # what ends a sentence around a URL is not of the URL
_VALUE = rf"[^&\s](?:(?!{_SENTENCE})[^&\s])*"
_WEB = r"(?:https?|s3|gs|gcs|abfss?|ftp)://"
_ANY = r"\b[a-z][\w+.-]{0,30}://"
_PAIR = r"[\w.%-]{1,60}=(?![=\s]|$)"
_END = rf"\s|$|{_SENTENCE}"  # of a port


def _rule(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# Each has the group `secret`.
_RULES = (
    # scheme://user:SECRET@host, whatever signs it holds; host:8080/a@b and host:5432/db?a=b@c have
    # a port and no password.
    _rule(rf"\b{_WEB}[^:/?#\s]*:(?!\d{{1,5}}(?:[/?#]|{_END}))(?P<secret>\S{{1,1000}}|[^\n@]{{1,300}})@"),
    _rule(
        rf"\b(?!{_WEB})[a-z][\w+.-]{{0,30}}://[^:/?#\s]{{0,200}}:"
        rf"(?!\d{{1,5}}(?:/[^@?\s]*)?(?:\?[\w.%-]+=|{_END}))(?P<secret>\S{{1,1000}}|[^\n@]{{1,300}})@"
    ),
    # https://SECRET@host: a user of the web without a password is a token.
    _rule(r"\bhttps?://(?P<secret>[^:/?#@\s]+)@"),
    # A URL with a password, percent-encoded within another.
    _rule(r"%3A%2F%2F(?:(?!%3A|%2F|%40)[^\s&]){0,200}%3A(?P<secret>[^\s&]{1,1000})%40"),
    # password=SECRET of a DSN: quoted, in braces, up to a semicolon, or one word.
    _rule(
        rf"(?<![\w?&#.-]){_STRONG}\s*=\s*(?P<secret>'(?:[^'\\]|\\.|'')*'|\"[^\"]*\"|"
        r"\{(?:[^}]|\}\})*\}|[^;=\n]+(?=;)|(?:\\.|[^\s;])+)"
    ),
    # ?name=SECRET, #name=SECRET, and the same within an encoded text.
    _rule(rf"[?&;#]{_ASKED}=(?!\*\*\*;)(?P<secret>{_VALUE})"),
    _rule(rf"(?<![\w.-]){_STRONG}%3D(?P<secret>{_VALUE})"),
    # x.csv;jsessionid=SECRET, x.csv#SECRET and x.csv?SECRET, whatever their name. Named values of a
    # fragment and a query are told by their names; #/experiments is a page of MLflow's.
    _rule(rf"{_ANY}[^\s?#;]*;(?P<secret>[^\s?#](?:(?!{_SENTENCE})[^\s?#])*)"),
    _rule(rf"{_ANY}[^\s#]*#(?!/experiments\b|{_PAIR})(?P<secret>[^\s](?:(?!{_SENTENCE})\S)*)"),
    _rule(rf"{_ANY}[^\s?#]*\?(?!{_PAIR})(?P<secret>[^\s#&](?:(?!{_SENTENCE})[^\s#&]){{7,}})"),
    # {'password': 'SECRET'}: options, printed.
    _rule(
        rf"(?P<mark>['\"])(?:{_STRONG}|key|pass|auth)(?P=mark)\s*:\s*"
        r"(?P<secret>'(?:[^'\\]|\\.)+'|\"(?:[^\"\\]|\\.)+\")"
    ),
    # Headers.
    _rule(
        r"\bauthorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|token|digest|apikey)\s+)?"
        r"(?P<secret>[^\s\"',}]+)"
    ),
    _rule(r"\bbearer\s+(?P<secret>[\w.~+/=*-]{3,})"),
    _rule(r"\b(?:x-[\w-]*(?:key|token|signature)|api-key)[\"']?\s*:\s*(?P<secret>[^\s,}]+)"),
    # Webhooks, whose path is the secret.
    _rule(
        r"https?://(?:hooks\.[^/\s]+|[^/\s]*\.webhook\.office\.com|[^/\s]*\.logic\.azure\.com)"
        rf"(?::\d+)?/(?P<secret>{_VALUE})"
    ),
    _rule(rf"https?://[^/\s]+/(?:[^/\s?#]+/){{0,2}}(?:webhooks?|webhookb2|hooks)/(?P<secret>{_VALUE})"),
    _rule(rf"https?://api\.telegram\.org/bot(?P<secret>{_VALUE})"),
    # user:SECRET@host without a scheme; neither models:/name@alias nor C:\file@home.
    _rule(r"(?<![\w/.:@%+*-])(?!mailto:)[\w.+%-]{1,64}(?:@[\w.-]{1,64})?:(?P<secret>[^\s/:\\@]\S{0,500}|@\S{1,500})@(?=[\w.\[-])"),
)  # fmt: skip
_SECRET_NAME = _rule(rf"(?:{_STRONG}|key|pass|auth|webhook|smtp)\Z")

# What each rule needs one of: a text without any has nothing to hide.
_SIGNS = _rule(r"[:=@]|%3[ad]|bearer")

P = ParamSpec("P")
T = TypeVar("T")


def masked(text: str) -> str:
    """A text without the passwords, tokens and keys in its URLs, DSNs, options and headers."""
    if _SIGNS.search(text) is None:
        return text
    for rule in _RULES:
        text = rule.sub(_hidden, text)
    return text


def hide(value: Any) -> Any:
    """Plain values with every text in them `masked`, and those under a secret's name hidden."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if isinstance(inner, str) and inner and _SECRET_NAME.match(str(key))
            else hide(inner)
            for key, inner in value.items()
        }
    return [hide(inner) for inner in value] if isinstance(value, list | tuple) else value


def secrets_in(text: str) -> set[str]:
    """What `masked` hides of a text, plain and percent-encoded, whole and as drivers cut it."""
    values: set[str] = set()

    def note(match: re.Match[str]) -> str:
        values.add(match["secret"].strip("'\"{}"))
        return _hidden(match)

    for rule in _RULES:
        text = rule.sub(note, text)
    # A driver that takes the first @ or / for the end of the password quotes the rest as a host.
    values |= {part for value in values for part in re.split(r"[@/:?#;&]", value)}
    values |= {unquote(value) for value in values} | {unquote_plus(value) for value in values}
    values |= {quote(value, safe="") for value in values} | {quote_plus(value) for value in values}
    return {value for value in values if len(value) >= SHORTEST}


def concealed(text: str, *sources: str) -> str:
    """`masked`, and the secrets of the sources nowhere in it: some drivers quote them alone."""
    text = masked(text)
    for value in sorted(set().union(*map(secrets_in, sources)), key=len, reverse=True):
        text = re.sub(re.escape(value), HIDDEN, text, flags=re.IGNORECASE)
    return text


@contextmanager
def concealing(*sources: object) -> Iterator[None]:
    """Let no error out of the block that tells a secret of these sources.

    Its text is `concealed`, and where a source has a secret the driver's own errors behind it,
    which a trace would print, are dropped.
    """
    try:
        yield
    except Exception as error:
        texts = [str(source) for source in sources if isinstance(source, str | PurePath)]
        error.args = tuple(concealed(a, *texts) if isinstance(a, str) else a for a in error.args)
        if not any(map(secrets_in, texts)):
            raise
        if concealed(str(error), *texts) != str(error):
            line = f"{type(error).__name__}: {concealed(str(error), *texts)}"
            raise GatecastError(line) from None
        error.__cause__ = error.__context__ = None
        raise


def conceals(function: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """A function whose errors tell no secret of its first argument, see `concealing`."""

    @functools.wraps(function)
    def guarded(source: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with concealing(source):
            return function(source, *args, **kwargs)

    return guarded


def _hidden(match: re.Match[str]) -> str:
    begin, end = (place - match.start() for place in match.span("secret"))
    return match[0][:begin] + HIDDEN + match[0][end:]
