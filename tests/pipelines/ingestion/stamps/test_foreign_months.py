"""Names of months in other languages are named as the reason, and the cure that is named cures."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, ingest

NAMES = {
    "German": "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    "French": "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "Spanish": "ene feb mar abr may jun jul ago sep oct nov dic",
    "Italian": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre "
    "ottobre novembre dicembre",
    "Portuguese": "jan fev mar abr mai jun jul ago set out nov dez",
    "Dutch": "januari februari maart april mei juni juli augustus september oktober "
    "november december",
    "Polish": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
    "Russian": "янв фев мар апр май июн июл авг сен окт ноя дек",
    "Croatian": "sij velj ožu tra svi lip srp kol ruj lis stu pro",
    "Czech": "led úno bře dub kvě čvn čvc srp zář říj lis pro",
    "Hungarian": "jan. febr. márc. ápr. máj. jún. júl. aug. szept. okt. nov. dec.",
    "Romanian": "ian feb mar apr mai iun iul aug sep oct noi dec",
    "Danish": "januar februar marts april maj juni juli august september oktober november december",
    "Norwegian": "jan feb mar apr mai jun jul aug sep okt nov des",
    "Swedish": "januari februari mars april maj juni juli augusti september oktober november "
    "december",
    "Catalan": "gener febrer març abril maig juny juliol agost setembre octubre novembre desembre",
    "Lithuanian": "sausis vasaris kovas balandis gegužė birželis liepa rugpjūtis rugsėjis spalis "
    "lapkritis gruodis",
    "Greek": "Ιαν Φεβ Μαρ Απρ Μαι Ιουν Ιουλ Αυγ Σεπ Οκτ Νοε Δεκ",
    "Ukrainian": "січ лют бер кві тра чер лип сер вер жов лис гру",
    "Turkish": "Oca Şub Mar Nis May Haz Tem Ağu Eyl Eki Kas Ara",
}  # fmt: skip
FORMS = ("{m} {y}", "{m}-{y}", "1 {m} {y}", "01-{m}-{y}", "{y} {m}", "01{m}{y}")


def stamps(language: str, form: str, start: int, count: int) -> list[str]:
    months = pd.date_range("2015-01-01", periods=start + count, freq="MS")[start:]
    names = NAMES[language].split()
    return [form.format(m=names[m.month - 1], y=m.year) for m in months]


def cured(texts: list[str], message: str) -> list[str]:
    """What the message says is to be done, done."""
    cures = re.findall(r"([^\W\d_]+) as ([A-Z][a-z]{2})", message)
    out = []
    for text in texts:
        for foreign, english in sorted(cures, key=lambda c: -len(c[0])):
            text = re.sub(rf"(?i)(?<![^\W\d_]){foreign}(?![^\W\d_])\.?", english, text)
        out.append(text)
    return out


# One language of each script and of each trap; the others by `make slow`.
EVERY_TIME = ("Catalan", "French", "German", "Polish", "Russian")
LANGUAGES = [
    name if name in EVERY_TIME else pytest.param(name, marks=pytest.mark.slow)
    for name in sorted(NAMES)
]


@pytest.mark.parametrize("language", LANGUAGES)
@given(
    form=st.sampled_from(FORMS),
    start=st.integers(0, 11),
    count=st.integers(18, 24),
    named=st.sampled_from(["ds", "Monat", "period_x"]),
)
@settings(max_examples=3, deadline=None, phases=[Phase.generate])
def test_months_of_another_language_are_the_reason_and_the_cure_cures(
    language: str, form: str, start: int, count: int, named: str
) -> None:
    texts = stamps(language, form, start, count)
    frame = pd.DataFrame({"unique_id": "a", named: texts, "y": [5.0 + i % 7 for i in range(count)]})
    with pytest.raises(DataError, match=r"names a month in") as raised:
        ingest(DataConfig(), source=frame)
    frame[named] = cured(texts, str(raised.value))
    result = ingest(DataConfig(id="unique_id", ds=named, y="y"), source=frame)
    assert len(result.frame) == count
    assert result.freq == "MS"


def test_a_few_foreign_months_are_not_dropped_as_footers() -> None:
    days = pd.date_range("2023-06-01", periods=200, freq="D")
    months = {5: "Mai", 10: "Okt", 12: "Dez", 3: "Mär"}
    texts = [f"{d.day} {months.get(d.month, d.strftime('%b'))} {d.year}" for d in days[:125]]
    frame = pd.DataFrame({"unique_id": "a", "ds": texts, "y": range(125)})
    with pytest.raises(DataError, match=r"German.*okt as Oct"):
        ingest(DataConfig(), source=frame)


def test_months_in_a_header_are_named_too() -> None:
    header = stamps("German", "{m} {y}", 0, 14)
    frame = pd.DataFrame([["s1", *range(14)], ["s2", *range(14)]], columns=["sku", *header])
    for layout in (None, "rows"):
        with pytest.raises(DataError, match=r"of the header.*German"):
            ingest(DataConfig(layout=layout), source=frame)


def test_english_months_are_no_foreign_ones() -> None:
    texts = [f"{d:%d %b %Y}" for d in pd.date_range("2023-01-01", periods=400, freq="D")]
    frame = pd.DataFrame({"unique_id": "a", "ds": texts, "y": [i % 7 for i in range(400)]})
    assert ingest(DataConfig(), source=frame).freq == "D"


@pytest.mark.parametrize("words", [("srp", "lis"), ("lip", "lis")])
def test_a_name_that_two_languages_share_is_said_to_be_in_doubt(words: tuple[str, str]) -> None:
    texts = [f"1 {word} {year}" for year in range(2001, 2013) for word in words]
    frame = pd.DataFrame({"unique_id": "a", "ds": texts, "y": [1.5] * len(texts)})
    with pytest.raises(DataError, match=r"Croatian.*lis mean one month in one of them") as refused:
        ingest(DataConfig.parse({}), source=frame)
    assert "lis as" not in str(refused.value)
