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
    "French": "janv/janvier févr/fév/février/fevr/fev/fevrier mars avr/avril mai juin "
    "juil/juillet "
    "août/aout/aoû sept/septembre oct/octobre nov/novembre déc/décembre/decembre",
    "Spanish": "ene/enero feb/febrero mar/marzo abr/abril may/mayo jun/junio jul/julio "
    "ago/agosto "
    "sep/sept/septiembre/set/setiembre oct/octubre nov/noviembre dic/diciembre",
    "Italian": "gen/gennaio feb/febbraio mar/marzo apr/aprile mag/maggio giu/giugno lug/luglio "
    "ago/agosto set/sett/settembre ott/ottobre nov/novembre dic/dicembre",
    "Portuguese": "jan/janeiro fev/fevereiro mar/março/marco abr/abril mai/maio jun/junho "
    "jul/julho ago/agosto set/setembro out/outubro nov/novembro dez/dezembro",
    "Dutch": "jan/januari feb/februari mrt/maart apr/april mei jun/juni jul/juli aug/augustus "
    "sep/sept/september okt/oktober nov/november dec/december",
    "Swedish": "jan/januari feb/februari mar/mars apr/april maj jun/juni jul/juli aug/augusti "
    "sep/sept/september okt/oktober nov/november dec/december",
    "Danish": "jan/januar feb/februar mar/marts apr/april maj jun/juni jul/juli aug/august "
    "sep/sept/september okt/oktober nov/november dec/december",
    "Norwegian": "jan/januar feb/februar mar/mars apr/april mai jun/juni jul/juli aug/august "
    "sep/sept/september okt/oktober nov/november des/desember",
    "Polish": "sty/styczeń/stycznia lut/luty/lutego mar/marzec/marca kwi/kwiecień/kwietnia "
    "maj/maja cze/czerwiec/czerwca lip/lipiec/lipca sie/sierpień/sierpnia wrz/wrzesień/września "
    "paź/październik/października lis/listopad/listopada gru/grudzień/grudnia",
    "Czech": "led/leden/ledna úno/únor/února bře/březen/března dub/duben/dubna kvě/květen/května "
    "čvn/červen/června čvc/červenec/července srp/srpen/srpna zář/září říj/říjen/října "
    "lis/listopad/listopadu pro/prosinec/prosince",
    "Slovak": "jan/január/januára feb/február/februára mar/marec/marca apr/apríl/apríla máj/mája "
    "jún/júna júl/júla aug/august/augusta sep/september/septembra okt/október/októbra "
    "nov/november/novembra dec/december/decembra",
    "Croatian": "sij/siječanj/siječnja velj/vlj/veljača/veljače ožu/ožujak/ožujka "
    "tra/travanj/travnja "
    "svi/svibanj/svibnja lip/lipanj/lipnja srp/srpanj/srpnja kol/kolovoz/kolovoza "
    "ruj/rujan/rujna "
    "lis/listopad/listopada stu/studeni/studenoga pro/prosinac/prosinca",
    "Serbian or Slovene": "jan/januar/januara/januarja feb/februar/februara/februarja "
    "mar/mart/marta/marec/marca apr/april/aprila maj/maja jun/jun/juna/junij/junija "
    "jul/jul/jula/julij/julija avg/avgust/avgusta sep/sept/septembar/septembra/september "
    "okt/oktobar/oktobra/oktober nov/novembar/novembra/november "
    "dec/decembar/decembra/december",
    "Hungarian": "jan/január febr/feb/február márc/már/március ápr/április máj/május jún/június "
    "júl/július aug/augusztus szept/szep/szeptember okt/október nov/november dec/december",
    "Romanian": "ian/ianuarie feb/febr/februarie mar/mart/martie apr/aprilie mai iun/iunie "
    "iul/iulie "
    "aug/august sep/sept/septembrie oct/octombrie nov/noi/noiem/noiembrie dec/decembrie",
    "Catalan": "gen/gener febr/feb/febrer març/mar/marc abr/abril maig jun/juny jul/juliol "
    "ag/agost "
    "set/setembre oct/octubre nov/novembre des/desembre",
    "Icelandic": "jan/janúar feb/febrúar mar/mars apr/apríl maí jún/júní júl/júlí ágú/ágúst "
    "sep/sept/september okt/október nóv/nóvember des/desember",
    "Estonian": "jaan/jaanuar veebr/veeb/veebruar märts/mär apr/aprill mai juuni/juun juuli/juul "
    "aug/august sept/september okt/oktoober nov/november dets/detsember",
    "Latvian": "janv/jan/janvāris febr/feb/februāris marts/mar apr/aprīlis maijs/mai jūn/jūnijs "
    "jūl/jūlijs aug/augusts sept/sep/septembris okt/oktobris nov/novembris dec/decembris",
    "Lithuanian": "saus/sausis/sausio vas/vasaris/vasario kov/kovas/kovo bal/balandis/balandžio "
    "geg/gegužė/gegužės birž/bir/birželis/birželio liep/lie/liepa/liepos "
    "rugp/rgp/rugpjūtis/rugpjūčio rugs/rgs/rugsėjis/rugsėjo spal/spa/spalis/spalio "
    "lapkr/lap/lapkritis/lapkričio gruod/grd/gruodis/gruodžio",
    "Indonesian or Malay": "jan/januari feb/februari/pebruari mar/maret/mac apr/april mei "
    "jun/juni "
    "jul/juli/julai agt/agu/ags/agustus/ogos sep/september okt/oktober nov/november/nop "
    "des/desember/dis/disember",
    "Greek": "ιαν/ιανουάριος/ιανουαρίου φεβ/φεβρουάριος/φεβρουαρίου μαρ/μάρ/μάρτιος/μαρτίου "
    "απρ/απρίλιος/απριλίου μαΐ/μαι/μάι/μάιος/μαΐου ιουν/ιούν/ιούνιος/ιουνίου "
    "ιουλ/ιούλ/ιούλιος/ιουλίου "
    "αυγ/αύγ/αύγουστος/αυγούστου σεπ/σεπτ/σεπτέμβριος/σεπτεμβρίου οκτ/οκτώβριος/οκτωβρίου "
    "νοε/νοέ/νοέμβριος/νοεμβρίου δεκ/δεκέμβριος/δεκεμβρίου",
    "Ukrainian": "січ/січень/січня лют/лютий/лютого бер/березень/березня квіт/кві/квітень/квітня "
    "трав/тра/травень/травня черв/чер/червень/червня лип/липень/липня серп/сер/серпень/серпня "
    "вер/вересень/вересня жовт/жов/жовтень/жовтня лист/лис/листопад/листопада "
    "груд/гру/грудень/грудня",
    "Bulgarian": "яну/ян/януари фев/февруари мар/март апр/април май юни/юн юли/юл авг/август "
    "сеп/септ/септември окт/октомври ное/ноември дек/декември",
    "Turkish": "oca/ocak şub/şubat mar/mart nis/nisan may/mayıs haz/haziran tem/temmuz "
    "ağu/ağustos "
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
    # Every word is one that somebody takes for a month; those of many rows count no more than once.
    seen = {w for w in words if any(w in months for months in _MONTHS.values())}
    counts = {name: len(seen & set(months)) for name, months in _MONTHS.items()}
    most = max(counts.values())
    possible = [name for name in _MONTHS if counts[name] == most]
    cures, unsure = [], []
    for word in (w for w in words if w in seen):
        read = {_MONTHS[name][word] for name in possible if word in _MONTHS[name]}
        if len(read) > 1:
            unsure.append(word)
        elif read:
            english = _ENGLISH[read.pop()]
            cures += [f"{word} as {english}"] if dotted or word != english.lower() else []
    languages = " or ".join(possible[:3])
    english = ", ".join(cures[:12]) or "Jan, Feb, …"
    english += ", without the point behind" if dotted else ""
    doubt = f"; {', '.join(unsure)} mean one month in one of them and another in the other"
    return (
        f"column {column}: {shown(first)} names a month in {languages}, and only English names are "
        f"read; write the months as numbers or in English ({english})" + (doubt if unsure else "")
    )
