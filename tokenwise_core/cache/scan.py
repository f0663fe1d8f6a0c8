"""A text cut once: words with their contractions spelt out, figures, codes, quotes, names by their capitals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from tokenwise_core.cache.amounts import NUMBER_WORDS, SIGNS, figure
from tokenwise_core.cache.words import BETWEEN, CLITICS, CONTRACTIONS, DATED, ENGLISH, FILLERS, OPERATORS, STOP

_FOLD = str.maketrans({
    "’": "'", "‘": "'", "ʼ": "'", "′": "'", "`": "`", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
    "–": "-", "—": " ", "−": "-", "‑": "-", "×": "*", "÷": "/", "⁄": "/", "\u00ad": None, "\u200b": None, "…": ".",
    "\ue000": None, "\ue001": None, "\ufe0f": None, "\u200d": None,
})  # fmt: skip

_EXTENSIONS = (
    "py|js|ts|tsx|jsx|json|yaml|yml|csv|tsv|txt|md|rst|pdf|docx?|xlsx?|pptx?|png|jpe?g|gif|svg|html?|css|java|cpp|hpp|rs|"
    "go|rb|php|sh|bat|ps1|sql|xml|toml|ini|cfg|conf|log|zip|tar|gz|exe|dll|apk|mp3|mp4|wav|db|parquet|ipynb|lock|env|"
    "com|org|net|io|dev|edu|gov"
)
_VERBATIM = re.compile(
    rf"""
    ```[^`]{{1,4000}}``` | `[^`\n]{{1,200}}`                                          # code
    | (?:https?://|www\.)[^\s<>"']{{1,400}}                                          # addresses
    | [\w.+-]{{1,64}}@[\w-]{{1,64}}(?:\.[\w-]{{1,64}}){{0,8}} | (?<!\w)@\w{{2,40}}        # e-mail, handles
    | (?<!\w)(?:~|\.{{1,2}}|[A-Za-z]:)?[/\\](?:[\w.~@-]{{1,80}}[/\\]){{0,20}}[\w.~@-]{{1,80}}   # absolute paths
    | (?<![\w.])(?:[\w-]{{1,60}}[/\\]){{0,20}}[\w-]{{1,60}}(?:\.[\w-]{{1,20}}){{0,3}}\.(?:{_EXTENSIONS})\b  # files
    | \d[\w.]{{0,20}}(?:\s?[-+*/^=<>]\s?\d[\w.]{{0,20}}){{1,20}}                         # arithmetic, ranges, dates
    """,
    re.VERBOSE,
)
_VERBATIM_SIGNS = re.compile(r"[`@/\\=+*^<>]|\w\.\w|\d ?- ?\d")
_CHUNK = re.compile(
    r"\w+(?:[-'.:/&]\w+|,\d{3}(?!\d))*(?:\+\+|\#)?"
    r"|[.?;:\n][.!?;:\n]*"
    r"|\ue000\d+\ue001|[$€£¥₹%&]"
    r"|!(?:=+|(?<![\w!?.)\"']!)(?:[A-Za-z_]\w{0,40}|\()|[.!?;:\n]*)"  # "!x", "!(a)": no end
    r"|-(?:(?<!\S-)\d[\w.]{0,40}"
    r"|(?<![^\s(\[=,:+*/<>]-)-?[A-Za-z]\w{0,40}"  # "-x", "grep -r", "--force"
    r"|(?<=\w\ -)(?=\ (?:\d|\w\b|\()))"
    r"|[*~](?<![^\s(\[=,][*~])[A-Za-z]\w?(?![\w*~])"  # "*p", "~x", no emphasis
    r"|'(?<=[\s(\[=,+*/^-][A-Za-z]')(?![\w'])"  # x', the other x
    r"|[+=<>^]+|\|\||\*(?:(?<=\w\*)(?=\w)|(?<=\w\ \*)(?=\ \w))|/(?<=\w\ /)(?=\ (?:\d|\w\b|\())"
    r"|[^\x00-\x7f\w\s]"
)
_QUOTED = re.compile(r'(?<!")"++([^"\n]{2,80})"|(?<![\w])\'([^\'\n]{2,80})\'(?!\w)')
_STOPS = frozenset(".!?;:\n")


@dataclass(slots=True)
class Scan:
    """What one pass over a text finds. *starts* are the indices in *words* at which a sentence begins.

    *capitals* are the words of letters only that have one, *mixed* those of letters and figures; *signs* the operators;
    *is_plain* says that there is nothing but words of letters and codes.
    """

    words: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    capitals: dict[int, str] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)
    mixed: dict[int, str] = field(default_factory=dict)
    signs: list[str] = field(default_factory=list)
    is_plain: bool = True


def scan(text: str) -> Scan:
    """Cut *text*; linear in its length."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_FOLD)
    found = Scan()
    if '"' in text or "'" in text:
        found.quotes = [one or other for one, other in _QUOTED.findall(text)]
    if _VERBATIM_SIGNS.search(text):
        text = _VERBATIM.sub(lambda match: _verbatim(match[0], found), text)
    for chunk in _CHUNK.findall(text):
        if chunk.isalpha():
            _word(chunk, found)
        elif chunk[0] == "\ue000":
            found.words.append(found.codes[int(chunk[1:-1])])
        elif chunk[0] in _STOPS and chunk[-1] in _STOPS:
            if found.starts[-1] != len(found.words):
                found.starts.append(len(found.words))
        else:
            _odd(chunk, found)
    if "a" in found.words:
        _variables(found.words)
    return found


def _variables(words: list[str]) -> None:
    """Write "a." for an "a" that is no article: "subtract a from b", "divide b by a"."""
    for at, word in enumerate(words):
        if word == "a" and (_is_first(words, at) or (at > 1 and _is_second(words, at))):
            words[at] = "a."


def _is_first(words: list[str], at: int) -> bool:
    """Say whether something between two variables follows, and the other variable."""
    return len(words) > at + 2 and words[at + 1] in BETWEEN and _is_term(words[at + 2])


def _is_second(words: list[str], at: int) -> bool:
    """Say whether a variable, and something between two, stand before, and nothing follows that has an article."""
    if words[at - 1] not in BETWEEN or not _is_term(words[at - 2]):
        return False
    after = words[at + 1] if len(words) > at + 1 else ""
    return not after or after in STOP or after in OPERATORS


def _is_term(word: str) -> bool:
    return (len(word) == 1 and word.isalnum()) or word.isdecimal() or word == "a."


def _word(chunk: str, found: Scan) -> None:
    low = chunk.lower()
    if low in _UNITED and found.words and found.words[-1] == "united":
        found.words[-1] = _UNITED[low]
        return
    if low != chunk:
        found.capitals[len(found.words)] = chunk
    spelt = CONTRACTIONS.get(low)
    if spelt is not None:
        found.words.extend(spelt)
    elif chunk == "US":
        found.words.append("usa")
    elif (chunk == "A" and _is_label(found)) or (low in _MODALS and _is_name(low, chunk, found)):
        found.words.append(f"{low}.")
    else:
        found.words.append(low)


_UNITED = {"states": "usa", "kingdom": "uk"}


_MODALS = frozenset({"may", "will"})


def _is_name(low: str, chunk: str, found: Scan) -> bool:
    """Say whether "May" or "Will" is a name or a month: a capital within a sentence, or "in may"."""
    if found.starts[-1] == len(found.words):
        return False
    return chunk != low or (low == "may" and found.words[-1] in DATED)


def _is_label(found: Scan) -> bool:
    """Say whether a capital A is a name ("vitamin A", "Is A better than B?") and no article in a title."""
    last = len(found.words) - 1
    if found.starts[-1] == last + 1:
        return False
    return last not in found.capitals or (last == found.starts[-1] and found.words[last] in STOP)


def _odd(chunk: str, found: Scan) -> None:
    """Read a chunk that is not letters only: a sign, an apostrophe, a hyphen, a figure, a code."""
    found.is_plain = False
    low = chunk.lower()
    if low in SIGNS or low[0] == "%":
        found.words.append(low)
    elif low[0] in "+=<>^*!/-~'|" and not low[-1].isdecimal():
        _sign(chunk, found)
    elif low == "&":
        found.words.append("and")
    elif not (low[0].isalnum() or low[0] in "-_"):
        if unicodedata.category(low).startswith("S"):  # "→", "≤", an emoji: what is asked about may be the sign
            found.words.append(low)
    elif "'" in low:
        _apostrophe(chunk, low, found)
    elif any(letter.isdecimal() for letter in low):
        if low != chunk:
            found.mixed[len(found.words)] = chunk
        _figure(low, found)
    elif "_" in low or low[-1] in "+#":
        found.codes.append(low)
        found.words.append(low)
    elif "." in low and all(len(part) == 1 for part in low.split(".")):
        _word(chunk.replace(".", ""), found)  # U.S., e.g
    elif len(chunk) == 3 and chunk[1] in "-/":  # x-y, a/b
        _word(chunk[0], found)
        _sign(chunk[1], found)
        _word(chunk[2], found)
    else:
        for part in re.split(r"[-.:/&_]", chunk):
            if part:
                _word(part, found)


def _sign(chunk: str, found: Scan) -> None:
    """Read an operator, or a sign together with what it stands before: "-x", "!x", "--force"."""
    name = chunk.lstrip("-!*~")
    if not name or not (name[0].isalpha() or name[0] == "_"):
        sign = chunk.rstrip("(")
        if sign in ("-", "/") and not (found.words and (len(found.words[-1]) == 1 or found.words[-1][-1].isdecimal())):
            return  # a dash between words, which says nothing
        found.signs.append(sign)
        found.words.append(sign)
    elif chunk[0] != "-" or chunk[1] == "-" or _is_operand(name, found):
        found.codes.append(chunk)
        found.words.append(chunk)
    else:
        for part in name.split("_"):
            if part:
                _word(part, found)


def _is_operand(name: str, found: Scan) -> bool:
    """Say whether a hyphen before *name* is a minus, or makes an option of it, and is no dash or bullet."""
    before = found.words[-1] if found.words else ""
    if len(name) == 1 or before in _SIGNED or before in found.signs:
        return True
    return len(name) <= _OPTION and found.starts[-1] < len(found.words) and name.lower() not in _COMMON


_SIGNED = frozenset({"return", "of", "from", "by", "than", "with", "equals", "between", "plus", "minus", "times"})
"""Words after which nobody writes a dash."""
_OPTION = 4
"""Letters that an option behind one hyphen has at most, "-rf": more are a word behind a careless dash."""


def _apostrophe(chunk: str, low: str, found: Scan) -> None:
    spelt = CONTRACTIONS.get(low)
    if spelt:
        found.words.extend(spelt)
        return
    head, _, tail = chunk.rpartition("'")
    if len(head) == 1 and len(tail) > 2:  # O'Brien, d'Arc
        _word(head + tail, found)
        return
    clitic = CLITICS.get(f"'{tail.lower()}")
    for part in re.split(r"\W", head if clitic or tail.lower() == "s" else chunk):
        if part:
            _word(part, found)
    if clitic:
        found.words.append(clitic)


def _figure(low: str, found: Scan) -> None:
    amount = figure(low)
    if amount is None and "-" in low:
        head, _, tail = low.partition("-")
        if head.isdecimal() and tail.isalpha():  # "5-day", "2-factor"
            found.words.extend((head, tail))
            return
    if amount is None:
        found.codes.append(low)
    found.words.append(amount or low)


def _verbatim(piece: str, found: Scan) -> str:
    """Keep a code as it is written; a mark stands in its place until the words are read."""
    code, rest = piece, ""
    if piece[0] == "`":
        code = piece.strip("`").strip()
    elif piece[0].isdecimal():
        code = "".join(piece.split()).rstrip(".").lower()
        if figure(code) is not None:
            return piece
    else:
        code = piece.rstrip(".,!?;:")
        rest = piece[len(code) :]
        code = code.lower() if "@" in code else code
    if not code:
        return " "
    found.codes.append(code)
    return f" \ue000{len(found.codes) - 1}\ue001 {rest} "


def names(found: Scan) -> Iterator[str]:
    """Yield the words whose capital says that they are names.

    A sentence's first word counts where another capital follows. Where the small words are capitals too (titles, block
    letters) a capital says nothing.
    """
    words, starts = found.words, set(found.starts)
    small = sum(words[at] in STOP and len(words[at]) > 1 for at in found.capitals if at not in starts)
    if small > 1 or (len(found.capitals) == len(words) > 1 and all(map(str.isupper, found.capitals.values()))):
        return
    told = {at: chunk for at, chunk in found.capitals.items() if words[at] not in STOP}
    for at, chunk in told.items():
        beside = at + 1 in told or (at - 1 in told and at not in starts)
        if words[at] in _COMMON:
            if beside and at not in starts:
                yield words[at]
        elif beside or at not in starts or (len(chunk) > 1 and chunk[1:] != chunk[1:].lower()):
            yield words[at]


_COMMON = ENGLISH | FILLERS | NUMBER_WORDS
"""Words whose capital alone makes no name: "my Card", but "Jordan Long"."""
