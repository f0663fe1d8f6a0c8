"""English word lists: the closed classes that the cache reads questions by.

Only words whose behaviour is a matter of grammar or of common knowledge stand here, never fillers of a test set. Words
are lower-case; contractions are spelt out before a list is asked.
"""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    """Return the words of *text*."""
    return frozenset(text.split())


CONTRACTIONS: dict[str, tuple[str, ...]] = {
    **{
        f"{verb}{joint}t": (full, "not")
        for joint in ("n'", "n")
        for verb, full in {
            "is": "is", "are": "are", "was": "was", "were": "were", "do": "do", "does": "does", "did": "did",
            "has": "has", "have": "have", "had": "had", "could": "could", "should": "should", "would": "would",
            "must": "must", "need": "need", "might": "might", "ought": "ought",
        }.items()
    },
    "can't": ("can", "not"), "cant": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not"),
    "shan't": ("shall", "not"), "ain't": ("is", "not"), "aint": ("is", "not"), "mustn't": ("must", "not"),
    "i'm": ("i", "am"), "im": ("i", "am"), "i've": ("i", "have"), "ive": ("i", "have"),
    "let's": ("let", "us"), "whats": ("what", "is"), "wheres": ("where", "is"), "hows": ("how", "is"),
    "thats": ("that", "is"), "u": ("you",), "ur": ("your",), "pls": ("please",), "plz": ("please",),
    "thx": ("thanks",), "acct": ("account",), "tmrw": ("tomorrow",), "america": ("usa",), "eu": ("europe",),
    "european": ("europe",), "britain": ("uk",), "british": ("uk",), "nyc": ("new", "york", "city"),
    "jan": ("january",), "feb": ("february",), "apr": ("april",), "jun": ("june",), "jul": ("july",),
    "aug": ("august",), "sept": ("september",), "oct": ("october",), "nov": ("november",), "dec": ("december",),
    "gonna": ("going", "to"), "wanna": ("want", "to"), "gotta": ("have", "to"),
    **{
        f"{word}'s": (word, "is")
        for word in (
            "it", "he", "she", "that", "this", "there", "here", "what", "who", "where", "when", "why", "how",
            "everything", "something", "nothing", "everyone", "someone",
        )
    },
}  # fmt: skip
"""Contractions, those written without their apostrophe too, and short forms, to the words they stand for."""

CLITICS: dict[str, str] = {"'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}

ARTICLES = frozenset({"a", "an", "the"})

BE = frozenset({"be", "am", "is", "are", "was", "were", "been", "being"})

AUXILIARIES = BE | _set(
    "do does did have has had can could will would shall should may might must ought get gets got getting"
)

NEGATORS = _set("not no never without none nobody nothing neither nor nowhere unable")

UNKNOWING = _set("know understand sure remember recall certain clear see find figure think mind")
"""After "I do not": who asks says that they do not know, which changes nothing about what is asked."""

WH = {
    "who": "who", "whom": "who", "whose": "who", "when": "when", "where": "where", "why": "why", "how": "how",
    "which": "what", "what": "what",
}  # fmt: skip

MASCULINE = _set("he him his himself")
FEMININE = _set("she her hers herself")
FIRST_PERSON = _set("i me my mine myself we us our ours ourselves")
SECOND_PERSON = _set("you your yours yourself yourselves")
THIRD_PLURAL = _set("they them their theirs themselves")

PREPOSITIONS = _set(
    "about above across after against along among around as at before behind below beneath beside besides between "
    "beyond by despite down during except for from in inside into like near of off on onto out outside over past per "
    "since than through throughout till to toward towards under until up upon versus via vs with within without"
)

TIME_ORDER = _set("before after until till since then")

COORDINATORS = frozenset({"and", "or", "nor", "versus", "vs"})

CORRELATIVES = frozenset({"both", "either", "simultaneously"})
"""Words that only underline an "and" or an "or"."""

DEICTICS = _set("this that these those such so there then")

STOP = (
    ARTICLES
    | AUXILIARIES
    | PREPOSITIONS
    | COORDINATORS
    | DEICTICS
    | MASCULINE
    | FEMININE
    | FIRST_PERSON
    | SECOND_PERSON
    | THIRD_PLURAL
    | frozenset(WH)
    | _set(
        "it its itself s t not no if because while whether though although just any some all each every both either "
        "here too also very please let but need want like know thing anything something everything someone anyone "
        "everyone hi hello hey thanks thank ok okay oh well now one ones there's et etc"
    )
)
"""Words that carry no topic. What they do carry (negation, time, person) is read by lists of its own."""

ENGLISH = STOP | _set(
    "more less most least much many few new good best better first last other than only same own make use work go come "
    "take give tell show find help get time day year people way question account card money change cancel update reset "
    "password order payment phone email number long difference between mean does again still yet never always"
)
"""Words by which a text is known as English."""

SHARED = _set("a an am as come die do es first i in man me no on so test was")
"""Words of `ENGLISH` that other languages write alike: they tell nothing."""

FOREIGN = _set(
    "de la el los las una unos unas del por para que como cómo qué cuál dónde está están mi tu su puedo puede hacer "
    "tengo es le les des du est sont dans pour avec sur je vous nous mon ma mes votre puis peux comment quel quelle "
    "où pourquoi der die das den dem ein eine einen ist sind nicht ich wie kann mein meine und oder für mit auf warum "
    "wo wann zu il lo gli uno di della nel per con mio mia posso dove perché non sono come os as um uma do da não "
    "eu meu minha onde quando het een van ik mijn hoe kan waar niet voor met en och att jag hur min mitt inte är var "
    "jak czy nie jest moje gdzie na si bir nasıl ne için"
) - frozenset({"as", "do", "die", "on", "a", "so", "non", "per", "con", "sur", "van", "min", "ma", "no"})
"""Function words of other languages in Latin letters, those that are English words as well left out."""

ADVERBS = _set(
    "really truly actually indeed literally honestly certainly definitely surely basically simply totally absolutely "
    "completely entirely genuinely somehow fact apparently obviously clearly perhaps maybe possibly exactly please "
    "kindly quickly currently even ever else anyway though sort bit lot quite rather seriously essentially frankly "
    "evidently supposedly presumably undoubtedly specifically particularly especially way ways easily steps step "
    "process procedure properly hello sir madam team guys"
)
"""Words that may be put into a question, or left out, without asking for something else."""

REQUESTS = _set(
    "know tell explain show help give understand learn find question wondering wonder curious trying try go going"
)
"""Verbs by which one asks to be told; they keep their place among the words, as "give" has a giver and a taker."""

FILLERS = ADVERBS | REQUESTS

SYMMETRIC = _set(
    "acquaintance acquainted adjacent agree alike ally allied and argue arguing associate associated attached brother "
    "brothers business classmate classmates close collaborate collaborating colleague colleagues combine combined "
    "compare compared comparison compatible compete competing connect connected connection contemporary cousin cousins "
    "correlated correlation coworker coworkers date dated dating differ difference different divorced divorcing "
    "engaged enemies enemy equal equals equidistant equivalent family fight fighting friend friendly friends identical "
    "in-laws interact interacting intersect linked marry married marrying meet meeting met mix mixed neighbor "
    "neighbors neighbour neighbours next overlap parallel partner partners peer peers perpendicular relate related "
    "relation relationship relatives roommate roommates same separated share sharing sibling siblings similar "
    "similarity sister sisters spouse spouses synonym synonymous teammate teammates together touch touching twin twins "
    "versus vs or intertwined conflict conflicts unrelated"
)
"""Relations that hold both ways: their two sides may change places."""

CALENDAR = _set(
    "monday tuesday wednesday thursday friday saturday sunday january february april may. june july august "
    "september october november december"
)
"""Days and months, known as names however they are written; "march" only beside what dates have ("may.": `scan`)."""

DATED = _set("in of on by since until till before after from during last next this every early late mid to")

RELATIVE_DAYS = _set("yesterday today tomorrow tonight")
PERIODS = _set(
    "week month year night weekend quarter morning afternoon evening summer winter spring semester term season"
)

OPERATORS = _set("+ - * / ^ = < > == != <= >=")
BETWEEN = OPERATORS | _set("from by to with and or than plus minus times over into equals")
"""What stands between two variables."""

ACRONYMS = _set(
    "AIDS SAT ACT ICE ERA PET CAT ARM BASIC REST SOAP ACID BASE SAD SEAL STEM CARE COBRA DASH NICE SMART BAT COP CAD "
    "DIP EAR TIN SPA FAN GAP MESH RICE SEED SHARE SPELL WASP"
)
"""Acronyms whose small letters are another word; those usually written small as well (PIN, SIM, LED) left out."""

NAMESAKES = _set(
    "Turkey China Polish March August Bill Mark Frank Grant Chase Rose Jack Rich Hunter Apple Amazon Orange Shell "
    "Target Gap Oracle Mercury Mars Reading Bath Cork Nice Chad Sandy Dawn Faith Grace Hope Joy Art Gene Drew Wade "
    "Sue Carol Dean Duke Earl Bishop Mason Baker Cook Fisher Stone Wood Bush Ford Rock Brown Young Long Little "
    "Buffalo Phoenix Jersey Guinea Cologne Catholic Liberal Conservative Labour God Robin Daisy Lily Iris Ivy Heather "
    "Ginger Pearl Ruby Amber Jasmine Olive Violet Penny Harry Bob Rob Pat Nick Ray Miles Lance Pierce Chip Cliff Dale "
    "Glen Heath Lane Reed Rusty Victor Ward Hill Church Bell Ball Banks Butler Carter Fox King Knight Lamb Love Marsh "
    "Miller Moody Noble Parker Pope Prince Swift Taylor Walker Waters Wolf Wise"
)
"""Names whose small letters are another word, by common knowledge.

Left out: what many capitalise though it is no name (Job, Price, Gold), products that many do not (Slack, Word).
"""

UNITS_BY_CASE = _set("Kb Mb Gb Tb Pb KBps kBps MBps GBps TBps mW MW mWh MWh mJ MJ Mg MV mHz mPa meV mM nM nS mS mT pA")
"""Units that mean another thing than their small letters do: mb is taken for MB, mbps for Mbps, mhz for MHz, mg for mg.

What "mw" means nobody knows: it is neither.
"""
