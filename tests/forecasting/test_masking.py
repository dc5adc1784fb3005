"""Whatever a secret looks like and wherever it stands, it is not shown; what is none stays."""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forecasting.errors import DataError, GatecastError
from forecasting.masking import (
    HIDDEN,
    concealed,
    concealing,
    conceals,
    hide,
    masked,
    secrets_in,
)

SIGNS = st.characters(min_codepoint=33, max_codepoint=126)
SECRETS = st.text(SIGNS, min_size=6, max_size=20)
PASSWORD_PLACES = [
    "postgresql://user:{}@host:5432/db",
    "postgresql+psycopg://:{}@host/db",
    "mysql://me@corp:{}@host/db?ssl=true",
    "http://ann:{}@host/table.csv",
    "https://ann:{}@host:8080/table.csv does not exist",
    "s3://id:{}@bucket/table.parquet",
    "smtp://user:{}@mail.example.org:587/?from=a&to=b",
    'cannot open "http://ann:{}@host/x": refused',
    "connection to user:{}@host failed",
]
NAMES = [
    "token", "access_token", "api_key", "apikey", "key", "sig", "signature", "secret", "password",
    "pwd", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "AWSAccessKeyId",
    "client_secret", "x-goog-signature", "subscription-key", "refresh_token", "SharedAccessKey",
    "auth", "sessionToken", "passwd", "api-key",
]  # fmt: skip
QUERY_PLACES = [
    "https://host/x.csv?{name}={value}",
    "https://host/x.csv?y=1&{name}={value}&z=2",
    "https://host/x.csv#{name}={value}",
    "'https://host/x.csv?{name}={value}' cannot be read: 404",
]
BARE_PLACES = [
    "https://host/x.csv#{}",
    "https://host/x.csv?y=1#{}",
    "s3://bucket/folder/x.parquet#{}",
    "http://host/x.csv;{}",
    "http://host/x.csv;jsessionid={}?y=1",
    "https://host:8080/a/x.csv;sid={}#part=2",
    "hdfs://host/x.csv;ticket={}",
    "https://host/x.csv?{}",
    "http://host/x.csv;jsessionid={} does not exist; look at data.source",
]
HOOKS = [
    "https://hooks.slack.com/services/{}",
    "https://corp.webhook.office.com/webhookb2/{}",
    "https://prod-1.westeurope.logic.azure.com:443/workflows/{}",
    "https://discord.com/api/webhooks/{}",
    "http://127.0.0.1:9/hooks/{}",
    "https://api.telegram.org/bot{}/sendMessage",
]


def check(text: str, secret: str, rest: str) -> None:
    """Nothing of a secret, plain or percent-encoded, is in the masked text."""
    said = masked(text)
    for form in (secret, quote(secret, safe=""), quote_plus(secret), quote(secret)):
        assume(form not in rest)  # the words around it may happen to be the same
        assert form not in said
    assert HIDDEN in said
    assert masked(said) == said


@given(SECRETS, st.sampled_from(PASSWORD_PLACES), st.booleans())
def test_no_password_of_a_url_is_shown(secret: str, place: str, encoded: bool) -> None:
    # Digits and a slash read as a port and a path; a scheme's colon needs a scheme.
    assume(encoded or not re.match(r"\d{1,5}[/?#]", secret))
    assume("://" in place or secret[0] not in "/:\\")
    check(place.format(quote(secret, safe="") if encoded else secret), secret, place)


@given(SECRETS, st.sampled_from(NAMES), st.sampled_from(QUERY_PLACES), st.booleans())
def test_no_token_of_a_query_or_fragment_is_shown(
    secret: str, name: str, place: str, encoded: bool
) -> None:
    assume(encoded or "&" not in secret)
    value = quote(secret, safe="") if encoded else secret
    check(place.format(name=name, value=value), secret, place + name)


@given(st.text("abcdefXYZ0189-_.~+/", min_size=8).map("S".__add__), st.sampled_from(BARE_PLACES))
def test_no_parameter_of_a_path_and_no_bare_fragment_is_shown(secret: str, place: str) -> None:
    check(place.format(secret), secret, place)
    if place.endswith("{}") and "=" not in place:
        assert secret.rstrip(".") in secrets_in(place.format(secret))


@given(SECRETS, st.sampled_from(HOOKS))
def test_the_path_of_a_webhook_is_a_secret(secret: str, place: str) -> None:
    assume("&" not in secret)
    check(place.format(secret), secret, place)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=6).map(str.strip))
def test_no_password_of_a_dsn_or_of_options_is_shown(secret: str) -> None:
    assume(len(secret) > 5)
    slashed = secret.replace("\\", r"\\").replace("'", r"\'")
    check(f"host=h password='{slashed}' user=x", slashed, "host=h password='' user=x")
    braced = secret.replace("}", "}}")
    check(f"DRIVER={{x}};SERVER=h;PWD={{{braced}}};", braced, "DRIVER={x};SERVER=h;PWD={};")
    check(str({"user": "x", "password": secret}), repr(secret)[1:-1], "{'user': 'x', 'password':")
    assert hide({"user": "x", "secret": secret}) == {"user": "x", "secret": HIDDEN}


@given(st.text("abcdefXYZ0189-_.~+/=", min_size=8))
def test_no_header_is_shown(secret: str) -> None:
    for place in ("Authorization: Bearer {}", "'Authorization': 'Basic {}'", "X-Api-Key: {}"):
        check(place.format(secret), secret, place)


@given(
    st.sampled_from(["http", "https", "s3", "gs", "ftp", "postgresql", "mysql+pymysql"]),
    st.from_regex(r"[a-z][a-z0-9.-]{0,8}[a-z0-9]", fullmatch=True),
    st.none() | st.integers(1, 65535),
    st.lists(st.text("abcdXYZ019_.@-=", min_size=1, max_size=8), max_size=4),
    st.dictionaries(
        st.sampled_from(["region", "y", "id", "from", "page", "format", "version", "sheet"]),
        st.text("abcdeXYZ0123456789_-", min_size=1, max_size=8),
        max_size=3,
    ),
)
def test_a_url_without_a_secret_stays_as_it_is(
    scheme: str, host: str, port: int | None, path: list[str], query: dict[str, str]
) -> None:
    if "sql" in scheme:
        path = [part.replace("@", "") for part in path]  # drivers take an @ for a password's end
    url = f"{scheme}://{host}" + (f":{port}" if port is not None else "")
    url += "".join(f"/{part}" for part in path)
    url += "?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else ""
    assert masked(url) == url
    assert masked(f"{url} does not exist") == f"{url} does not exist"
    assert not secrets_in(url)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("postgresql+psycopg://u:p/w@h:5432/db", "postgresql+psycopg://u:***@h:5432/db"),
        ("postgresql://u:my pass@h/db", "postgresql://u:***@h/db"),
        ("https://h/x?token=abc&y=1", "https://h/x?token=***&y=1"),
        ("https://h/x?y=1&X-Amz-Security-Key=a%2Bb", "https://h/x?y=1&X-Amz-Security-Key=***"),
        ("https://a.windows.net/c?sv=1&sig=b%3D", "https://a.windows.net/c?sv=1&sig=***"),
        ("https://f.azurewebsites.net/x?code=b%3D", "https://f.azurewebsites.net/x?code=***"),
        ("https://ghp_abc@github.com/x", "https://***@github.com/x"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dabc%3B", "mssql+pyodbc:///?odbc_connect=***"),
        ("x?url=http%3A%2F%2Fann%3APW%40h%2Fx", "x?url=http%3A%2F%2Fann%3A***%40h%2Fx"),
        ("postgresql://h:5432/db?opt=a@b", "postgresql://h:5432/db?opt=a@b"),
        ("abfs://container@account.windows.net/x", "abfs://container@account.windows.net/x"),
        ("sqlite:////data/a:b@c.db", "sqlite:////data/a:b@c.db"),
        ("models:/demand@champion", "models:/demand@champion"),
        ("/data/key=3/part.parquet", "/data/key=3/part.parquet"),
        ("s3://bucket/a@b.csv", "s3://bucket/a@b.csv"),
        ("sales.csv", "sales.csv"),
        ("https://h/x.csv;jsessionid=abc?y=1", "https://h/x.csv;***?y=1"),
        ("https://h/x.csv#abc does not exist", "https://h/x.csv#*** does not exist"),
        ("https://h/x.csv#abc==", "https://h/x.csv#***"),
        ("https://docs.google.com/x#gid=0", "https://docs.google.com/x#gid=0"),
        (
            "open http://127.0.0.1:5000/#/experiments/1/runs",
            "open http://127.0.0.1:5000/#/experiments/1/runs",
        ),
        ("is it http://h/x? Then; say", "is it http://h/x? Then; say"),
        ("https://h/x.csv?download", "https://h/x.csv?***"),
        ("data/a;b#c.csv", "data/a;b#c.csv"),
    ],
)
def test_what_is_hidden_and_what_is_not(text: str, said: str) -> None:
    assert masked(text) == said


def test_what_a_driver_quotes_of_a_source_is_hidden_with_it() -> None:
    source = "postgresql://me:se@cr%65et/xx@127.0.0.1/db"
    error = 'failed to resolve host "CR%65ET", user "creet": se@cr%65et/xx'
    assert concealed(error, source) == 'failed to resolve host "***", user "***": ***'


def test_an_error_that_leaves_tells_no_secret_nor_do_those_behind_it() -> None:
    source = "http://ann:canary@host/x.csv?token=nightingale"

    @conceals
    def read(source: str) -> None:
        try:
            raise OSError("canary")
        except OSError as error:
            raise DataError(f"{source} cannot be read: nightingale") from error

    with pytest.raises(DataError) as caught:
        read(source)
    assert str(caught.value) == "http://ann:***@host/x.csv?token=*** cannot be read: ***"
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_an_error_with_a_text_of_its_own_making_is_said_in_ours() -> None:
    class StubbornError(Exception):
        def __str__(self) -> str:
            return "connected with canary"

    with pytest.raises(GatecastError) as caught, concealing("http://ann:canary@host"):
        raise StubbornError
    assert str(caught.value) == "StubbornError: connected with ***"
    assert caught.value.__suppress_context__
