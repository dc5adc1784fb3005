"""Names of months in other languages: they are not read, and this says so in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipelines.ingestion.raw import shown

_ENGLISH = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_ENGLISH_LONG = (
    "january february march april may june july august september october november december sept"
)
# Per language twelve months; spellings of a month are parted by slashes.
_LANGUAGES = {
    "German": "jan/januar/jän/jänner/jaenner feb/februar/feber mär/märz/mrz/maerz apr/april mai "
    "jun/juni jul/juli aug/august sep/sept/september okt/oktober nov/november dez/dezember",
    "French": "janv/janvier févr/fév/février/fevr/fev/fevrier mars avr/avril mai juin juil/juillet "
    "août/aout/aoû sept/septembre oct/octobre nov/novembre déc/décembre/decembre",
    "Spanish": "ene/enero feb/febrero mar/marzo abr/abril may/mayo jun/junio jul/julio ago/agosto "
    "sep/sept/septiembre/set/setiembre oct/octubre nov/noviembre dic/diciembre",
    "Italian": "gen/gennaio feb/febbraio mar/marzo apr/aprile mag/maggio giu/giugno lug/luglio "
    "ago/agosto set/sett/settembre ott/ottobre nov/novembre dic/dicembre",
    "Portuguese": "jan/janeiro fev/fevereiro mar/março/marco abr/abril mai/maio jun/junho "
    "jul/julho ago/agosto set/setembro out/outubro nov/novembro dez/dezembro",
    "Dutch": "jan/januari feb/februari mrt/maart apr/april mei jun/juni jul/juli aug/augustus "
    "sep/sept/september okt/oktober nov/november dec/december",
    "Swedish": "jan/januari feb/februari mar/mars apr/april maj jun/juni jul/juli aug/augusti "
    "sep/sept/september okt/oktober nov/november dec/december",
    "Danish or Norwegian": "jan/januar feb/februar mar/marts/mars apr/april maj/mai jun/juni "
    "jul/juli aug/august sep/sept/september okt/oktober nov/november dec/des/december/desember",
    "Polish": "sty/styczeń/stycznia lut/luty/lutego mar/marzec/marca kwi/kwiecień/kwietnia "
    "maj/maja cze/czerwiec/czerwca lip/lipiec/lipca sie/sierpień/sierpnia wrz/wrzesień/września "
    "paź/październik/października lis/listopad/listopada gru/grudzień/grudnia",
    "Czech": "led/leden/ledna úno/únor/února bře/březen/března dub/duben/dubna kvě/květen/května "
    "čvn/červen/června čvc/červenec/července srp/srpen/srpna zář/září říj/říjen/října "
    "lis/listopad/listopadu pro/prosinec/prosince",
    "Turkish": "oca/ocak şub/şubat mar/mart nis/nisan may/mayıs haz/haziran tem/temmuz ağu/ağustos "
    "eyl/eylül eki/ekim kas/kasım ara/aralık",
    "Finnish": "tammi/tammikuu helmi/helmikuu maalis/maaliskuu huhti/huhtikuu touko/toukokuu "
    "kesä/kesäkuu heinä/heinäkuu elo/elokuu syys/syyskuu loka/lokakuu marras/marraskuu "
    "joulu/joulukuu",
    "Russian": "янв/январь/января фев/февраль/февраля мар/март/марта апр/апрель/апреля май/мая "
    "июн/июнь/июня июл/июль/июля авг/август/августа сен/сентябрь/сентября окт/октябрь/октября "
    "ноя/ноябрь/ноября дек/декабрь/декабря",
}  # fmt: skip
_MONTHS = {
    language: {name: i for i, names in enumerate(text.split()) for name in names.split("/")}
    for language, text in _LANGUAGES.items()
}
_WORD = re.compile(r"[^\W\d_]{3,}")
_OWN = {*(m.lower() for m in _ENGLISH), *_ENGLISH_LONG.split()}
MOST = 5000  # texts that are looked at


def foreign_months(texts: Iterable[str | None], column: str) -> str:
    """A sentence that names the language and the cure; "" where there is none.

    Parameters
    ----------
    texts : stamps as they were written. column : whose they are, for the sentence.
    """
    first, dotted = "", False
    words: dict[str, int] = {}
    for _, text in zip(range(MOST), texts, strict=False):
        if text is None or not re.search(r"\d", text):
            continue
        dotted = dotted or bool(re.search(r"[^\W\d_]\.", text))
        for word in _WORD.findall(text.lower()):
            words[word] = words.get(word, 0) + 1
            if not first and word not in _OWN and any(word in m for m in _MONTHS.values()):
                first = text
    if not first:
        return ""
    language = max(_MONTHS, key=lambda name: sum(n for w, n in words.items() if w in _MONTHS[name]))
    months = _MONTHS[language]
    other = [w for w in words if w in months and (dotted or w != _ENGLISH[months[w]].lower())]
    english = ", ".join(f"{w} as {_ENGLISH[months[w]]}" for w in other[:12])
    english += ", without the point behind" if dotted else ""
    return (
        f"column {column}: {shown(first)} names a month in {language}, and only English names are "
        f"read; write the months as numbers or in English ({english})"
    )
