"""One masker for commands and service: what either is given to hide, both hide."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.masking import HIDDEN, masked
from serving.running import logs, masking

CANARY = "canary-Pa55+word"
PLACES = [
    f"http://ann:{CANARY}@127.0.0.1:9",
    f"http://127.0.0.1:9/mlflow?token={CANARY}",
    f"http://127.0.0.1:9/x?y=1&api_key={CANARY}&z=2",
    f"https://{CANARY}@host/x",
    f"postgresql://127.0.0.1:9/db?password={CANARY}",
    f"postgresql://ann:{CANARY}@127.0.0.1:9/db?password={CANARY}",
    f"mssql+pyodbc:///?odbc_connect=PWD%3D{CANARY}%3B",
    f"s3://bucket/x.parquet#{CANARY}",
    f"http://host/x;jsessionid={CANARY}",
    f"host=h password='{CANARY}' user=x",
    f"Authorization: Bearer {CANARY}",
    f"https://hooks.slack.com/services/{CANARY}",
]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test keeps secret is hidden in no other."""
    before = set(masking._secrets)
    yield
    masking._secrets.clear()
    masking._secrets.update(before)


@pytest.mark.parametrize("mask", [masked, masking.hide], ids=["commands", "service"])
@pytest.mark.parametrize("text", PLACES)
def test_no_canary_is_shown_by_the_commands_nor_by_the_service(mask: type[str], text: str) -> None:
    for said in (text, f"{text} refused", f"cannot open '{text}': 404"):
        assert "Pa55" not in mask(said)
        assert HIDDEN in mask(said)


@pytest.mark.parametrize("text", PLACES)
def test_a_log_line_hides_a_canary_and_nothing_beside_it(
    text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.warning("canary", reason=text, nested={"list": [text, 3]}, error=OSError(text), model="m")
    line = orjson.loads(capfd.readouterr().err)
    assert "Pa55" not in str(line)
    assert line["reason"] == line["nested"]["list"][0] == line["error"] == masked(text)
    assert (line["nested"]["list"][1], line["model"], line["event"]) == (3, "m", "canary")


@pytest.mark.parametrize("address", PLACES[:6])
def test_a_secret_of_the_store_is_hidden_where_it_stands_alone(address: str) -> None:
    masking.keep_secrets_of(address, None)
    masking.keep_secret(None, "")
    assert masking.hide(f"connected as {CANARY}") == f"connected as {HIDDEN}"


@given(st.text("abc /?&#;'{}3AaDd%-", max_size=40) | st.text(max_size=40))
def test_texts_that_are_not_looked_into_hold_nothing_to_hide(text: str) -> None:
    from forecasting import masking as rules

    if rules._SIGNS.search(text) is None:
        assert all(rule.search(text) is None for rule in rules._RULES)
