"""Open-class English: stems, opposites, irregular verbs, and the names that need no capital letter."""

from __future__ import annotations

from functools import lru_cache

_IRREGULAR = """
arise arose arisen; awake awoke awoken; bear bore borne born; beat beaten; become became; begin began begun; bend bent;
bet; bind bound; bite bit bitten; bleed bled; blow blew blown; break broke broken; breed bred; bring brought; build
built; burn burnt; buy bought; catch caught; choose chose chosen; cling clung; come came; creep crept; deal dealt; dig
dug; draw drew drawn; dream dreamt; drink drank drunk; drive drove driven; eat ate eaten; fall fell fallen; feed fed;
feel felt; fight fought; find found; flee fled; fling flung; fly flew flown; forbid forbade forbidden; forget forgot
forgotten; forgive forgave forgiven; freeze froze frozen; give gave given; go went gone; grind ground; grow grew grown;
hang hung; have had has; hear heard; hide hid hidden; hold held; keep kept; kneel knelt; know knew known; lay laid; lead
led; lean leant; leap leapt; learn learnt; leave left; lend lent; lie lain; light lit; lose lost; make made; mean meant;
meet met; mistake mistook mistaken; overcome overcame; overtake overtook overtaken; pay paid; prove proven; ride rode
ridden; ring rang rung; rise rose risen; run ran; say said; see saw seen; seek sought; sell sold; send sent; sew sewn;
shake shook shaken; shine shone; shoot shot; show shown; shrink shrank shrunk; sing sang sung; sink sank sunk; sit sat;
sleep slept; slide slid; speak spoke spoken; spell spelt; spend spent; spill spilt; spin spun; spit spat; stand stood;
steal stole stolen; stick stuck; sting stung; stink stank stunk; strike struck; strive strove striven; swear swore
sworn; sweep swept; swim swam swum; swing swung; take took taken; teach taught; tear tore torn; tell told; think
thought; throw threw thrown; understand understood; undertake undertook undertaken; undo undid undone; wake woke woken;
wear wore worn; weave wove woven; weep wept; win won; withdraw withdrew withdrawn; withhold withheld; write wrote
written; man men; woman women; child children; foot feet; tooth teeth; mouse mice; goose geese; leaf leaves; knife
knives; wife wives; life lives; wolf wolves; calf calves; shelf shelves; half halves
"""

LEMMAS: dict[str, str] = {
    form: forms[0] for forms in (line.split() for line in _IRREGULAR.split(";")) for form in forms[1:]
}
"""Irregular forms to the word they are forms of."""

_UNCHANGED = "beat bet bid burst cast come become cost cut fit hit hurt let put quit read rid set shut split spread"
PARTICIPLES = frozenset(LEMMAS) | frozenset(_UNCHANGED.split())
"""Irregular forms that may follow "was … by"; the regular ones end in "ed"."""

_PREFIXES = frozenset({"un", "in", "im", "ir", "il", "dis", "non", "de", "mis", "anti"})

_OPPOSITES = """
enable disable; on off; open close,shut; start stop,end,finish; begin end,finish,stop; add remove,delete,subtract;
grant revoke,deny; increase decrease,reduce,lower; raise lower,reduce; active inactive; activate deactivate; forward
backward,reply; buy sell; up down; in out; upgrade downgrade; import export; upload download; best worst; better
worse; good bad,evil,poor; male female; man woman; men women; boy girl; husband wife; father mother; dad mom,mum; son
daughter; brother sister; uncle aunt; king queen; gain lose; win lose; true false; over under; inside outside; indoor
outdoor; indoors outdoors; include exclude; allow block,deny,forbid,prevent; permit forbid,prohibit,deny; hot cold;
warm cool; cheap expensive; cheapest expensive; advantage disadvantage,drawback; pro con; benefit risk,harm,drawback;
maximum minimum; max min; maximize minimize; maximise minimise; last next,first; previous next; past future; login
logout; push pull; encode decode; encrypt decrypt; install uninstall; deposit withdraw; deposit withdrawal; send
receive; sender recipient,receiver; accept reject,decline,refuse; approve reject,decline; lock unlock; positive
negative; legal illegal; possible impossible; connect disconnect; subscribe unsubscribe; follow unfollow; mute unmute;
hide show; show hide; visible invisible; public private; manual automatic; manually automatically; online offline;
left right; early late; earlier later; earliest latest; fast slow; faster slower; quick slow; quickly slowly; high
low; higher lower; highest lowest; top bottom; long short; longer shorter; longest shortest; tall short; taller
shorter; big small,little; bigger smaller; biggest smallest; large small; larger smaller; largest smallest; heavy
light; heavier lighter; thick thin; fat thin,slim,skinny; wide narrow; deep shallow; strong weak; stronger weaker;
hard soft; hard easy; difficult easy; harder easier; simple complex,complicated; rich poor; richer poorer; young old;
younger older; youngest oldest; new old,used; newest oldest; happy sad,unhappy; safe dangerous,unsafe,risky; healthy
sick,unhealthy; clean dirty; dry wet; full empty; fill empty; alive dead; live die; love hate; like dislike; friend
enemy; war peace; day night; morning evening,night; am pm; sunrise sunset; summer winter; north south; east west;
northern southern; eastern western; arrive depart,leave; arrival departure; enter exit,leave; entry exit; entrance
exit; join leave,quit; attach detach; hire fire; employer employee; borrow lend; lender borrower; landlord tenant;
debit credit; income expense; profit loss; asset liability; supply demand; save spend; earn spend; ask answer;
question answer; attack defend; attacker defender; expand shrink,collapse,contract; compress decompress,extract; zip
unzip; freeze unfreeze,thaw; pause resume; mount unmount; load unload; pack unpack; wrap unwrap; bind unbind; link
unlink; dress undress; redo undo; rise fall; ascending descending; ascend descend; horizontal vertical; front
back,rear; major minor; majority minority; minimum maximum; optional required,mandatory; common rare; often
rarely,seldom; frequently rarely; always never,sometimes; everyone nobody; all none; everything nothing; same
different; similar different; equal unequal; inner outer; internal external; domestic international,foreign; local
remote,global,international; temporary permanent; temporarily permanently; wake sleep; asleep awake; married
single,divorced; marry divorce; guilty innocent; brave cowardly; courageous fearful,cowardly; proud humble; patient
impatient; polite rude; honest dishonest; smart stupid,dumb; clever stupid; intelligent stupid,dumb; careful careless;
generous selfish,stingy; optimistic pessimistic; optimist pessimist; extrovert introvert; extroverted introverted;
lazy hardworking,active; calm nervous,anxious,angry; confident shy,insecure; beautiful ugly; pretty ugly; loud quiet;
bright dark; light dark; white black; sweet sour,bitter; fresh stale; raw cooked; hope fear; interesting boring;
improve worsen; success failure; succeed fail; pass fail; victory defeat; strength weakness; create delete,destroy;
build destroy; insert delete,remove; keep discard,delete; publish unpublish; show conceal; reveal hide,conceal; solve
cause; cure cause; help hurt,harm; support oppose; agree disagree; conservative liberal; democrat republican;
left-wing right-wing; liberal conservative; capitalism communism,socialism; atheist theist; physical mental,virtual;
real fake; natural artificial; rural urban; odd even; single double,married; once twice; whole half,partial; partial
full; partially fully; acid base; inhale exhale; inhalation exhalation; absorb emit; push pop; read write;
client server; input output; buyer seller; teacher student; doctor patient; parent child; plaintiff defendant; winner
loser; predator prey; hypertension hypotension; hyperthyroidism hypothyroidism; macroeconomics microeconomics; macro
micro; proponent opponent; arrive leave; inbound outbound; incoming outgoing; inflow outflow; inflation deflation;
export import; immigrate emigrate; ingoing outgoing; above below; dark light; wireless wired; prepaid
postpaid; gross net; wholesale retail; lease buy; rent buy,own
"""


def _opposites() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for line in _OPPOSITES.split(";"):
        left, rights = line.split()
        for right in rights.split(","):
            table.setdefault(stem(left), set()).add(stem(right))
            table.setdefault(stem(right), set()).add(stem(left))
    return {word: frozenset(others - {word}) for word, others in table.items()}


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """Return what the forms of an English word have in common: "stolen" → "steal", "cancelled" → "cancel".

    Lighter than Porter's: only plurals, -ed, -ing and spelling variants are folded; "active" and "activate" stay apart.
    """
    word = LEMMAS.get(word, word)
    if len(word) < 4:
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    word = _without_ending(word)
    if len(word) > 4 and "is" in word:
        for british, american in (("isation", "ization"), ("is", "iz"), ("ise", "ize")):
            if word.endswith(british) and len(word) > 5:
                word = word[: -len(british)] + american
                break
    if len(word) > 4:
        word = word.replace("our", "or")
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word


def _without_ending(word: str) -> str:
    for ending in ("ied", "ing", "ed"):
        rest = word[: -len(ending)]
        if word.endswith(ending) and len(rest) >= (2 if ending == "ied" else 3) and any(c in "aeiouy" for c in rest):
            return rest + ("y" if ending == "ied" else "")
    return word


OPPOSITES: dict[str, frozenset[str]] = _opposites()
"""Stem → the stems that mean its opposite."""


_SYNONYMS = """
turn switch; get obtain receive acquire; cancel terminate close end; support accept; additional extra another; new
another; issue problem trouble difficulty; importance significance purpose point; fast quick quickly soon immediately;
begin start; buy purchase; help assist; ask request; show display; choose select pick; fix solve resolve repair; big
large; small little; method way option; change modify alter; make create set; delete remove erase; use utilize employ;
verify confirm check; need require want; error mistake; allow permit; keep continue; happen occur; error problem; real
actual genuine; high much; seem look appear; max most maximum; cost price fee charge; pay payment; phone mobile
cellphone; automobile car; movie film; photo picture image; job work; kid child; speak talk; answer reply respond;
find locate; send transfer; return refund; return revert; pending processing; take eat swallow; wrong incorrect; odd
strange weird; happy glad; sad unhappy; smart intelligent clever; important crucial essential; hard difficult; easy
simple; rich wealthy; sick ill; begin commence; end finish; finish complete; deny decline reject refuse; apartment
flat; store shop; trip travel journey; money cash fund; home house; improve enhance; reduce lower decrease; increase
raise; learn study; join enter; near close; scared afraid frightened; angry mad; thankful grateful; brave courageous;
quiet silent; famous well-known; whole entire; kind type sort; advice tip suggestion; meaning definition; teacher
instructor; doctor physician; lawyer attorney; anywhere everywhere; common usual; normal usual; safe secure; dangerous
risky; permit licence license; accurate correct right
"""


def _synonyms() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    for line in _SYNONYMS.split(";"):
        stems = {stem(word) for word in line.split()}
        for word in stems:
            table.setdefault(word, set()).update(stems - {word})
    return {word: frozenset(others) for word, others in table.items()}


SYNONYMS: dict[str, frozenset[str]] = _synonyms()
"""Stem → stems that ask for the same thing where they stand in its place."""


def opposed(one: str, other: str) -> bool:
    """Say whether two stems are opposites, by the list or by a prefix."""
    return other in OPPOSITES.get(one, ()) or prefixed(one, other)


def prefixed(one: str, other: str) -> bool:
    """Say whether one stem is the other behind a prefix that denies it: "possible", "impossible"."""
    short, long = (one, other) if len(one) < len(other) else (other, one)
    return len(short) > 3 and long.endswith(short) and long[: -len(short)] in _PREFIXES


def participle(word: str) -> bool:
    """Say whether "was … *word* by" reads as a passive."""
    return word in PARTICIPLES or (len(word) > 3 and word.endswith(("ed", "en")))


_PLACES = """
afghanistan albania algeria andorra angola argentina armenia australia austria azerbaijan bahamas bahrain bangladesh
barbados belarus belgium belize benin bhutan bolivia bosnia botswana brazil brunei bulgaria burundi cambodia cameroon
canada chad chile china colombia congo croatia cuba cyprus czechia denmark djibouti dominica ecuador egypt eritrea
estonia eswatini ethiopia fiji finland france gabon gambia georgia germany ghana greece grenada guatemala guinea guyana
haiti honduras hungary iceland india indonesia iran iraq ireland israel italy jamaica japan jordan kazakhstan kenya
kiribati kosovo kuwait kyrgyzstan laos latvia lebanon lesotho liberia libya liechtenstein lithuania luxembourg
madagascar malawi malaysia maldives mali malta mauritania mauritius mexico micronesia moldova monaco mongolia montenegro
morocco mozambique myanmar namibia nauru nepal netherlands nicaragua niger nigeria norway oman pakistan palau palestine
panama paraguay peru philippines poland portugal qatar romania russia rwanda samoa senegal serbia seychelles singapore
slovakia slovenia somalia spain sudan suriname sweden switzerland syria taiwan tajikistan tanzania thailand togo tonga
tunisia turkmenistan tuvalu uganda ukraine uruguay uzbekistan vanuatu vatican venezuela vietnam yemen zambia zimbabwe
usa uk uae england scotland wales europe asia africa america california texas florida alaska hawaii ohio oregon utah
arizona colorado nevada virginia carolina dakota illinois indiana iowa kansas kentucky louisiana maine maryland
massachusetts michigan minnesota mississippi missouri montana nebraska oklahoma pennsylvania tennessee vermont
wisconsin wyoming alabama arkansas connecticut delaware idaho ontario quebec manitoba alberta kashmir punjab gujarat
kerala bihar goa london paris berlin madrid rome milan vienna prague warsaw budapest amsterdam brussels dublin lisbon
athens moscow kyiv kiev istanbul ankara cairo lagos nairobi johannesburg tokyo osaka kyoto beijing shanghai shenzhen
seoul bangkok hanoi jakarta manila mumbai delhi bangalore bengaluru hyderabad chennai kolkata pune karachi lahore dhaka
dubai riyadh tehran baghdad jerusalem sydney melbourne brisbane perth auckland toronto vancouver montreal chicago boston
seattle houston dallas austin denver atlanta miami philadelphia detroit baltimore portland phoenix orlando vegas zurich
geneva munich hamburg frankfurt cologne barcelona valencia seville porto lyon marseille nice naples venice florence
stockholm oslo copenhagen helsinki reykjavik edinburgh glasgow manchester liverpool birmingham leeds bristol havana lima
bogota santiago caracas
"""

_LANGUAGES = """
english french german spanish italian portuguese dutch swedish norwegian danish finnish polish czech slovak hungarian
romanian bulgarian greek turkish arabic hebrew persian farsi urdu hindi bengali punjabi tamil telugu marathi gujarati
mandarin cantonese chinese japanese korean vietnamese thai indonesian malay tagalog swahili russian ukrainian latin
american british canadian australian mexican brazilian indian pakistani irish scottish welsh
"""

NAMES = frozenset(_PLACES.split()) - {"chad", "turkey", "nice", "jordan", "mali"} | frozenset(_LANGUAGES.split())
"""Places, languages and nations, known as names however they are written; those that are common words left out."""
