"""A new cache, which has learnt nothing yet, and questions that differ in a letter's case, a sign, or who is who."""

import hashlib
import json

import pytest

from tests.core.cache.harness import answer, asked, make_cache
from tokenwise_core.cache.reading import edition, read
from tokenwise_core.embeddings import default_embedder

DIFFERENT = [
    ("Convert 5 mW to W", "Convert 5 MW to W"),
    ("How many Mb is 3 GB?", "How many MB is 3 GB?"),
    ("dose of 5 mg", "dose of 5 Mg"),
    ("what does grep -r do", "what does grep -R do"),
    ("What does tar -c do?", "What does tar -C do?"),
    ("Balance of account aB3", "Balance of account Ab3"),
    ("My password is Secret, ok?", "My password is secret, ok?"),
    ("My password is 'Secret', ok?", "My password is 'secret', ok?"),
    ("What does IT do?", "What does it do?"),
    ("What is AIDS", "What is aids"),
    ("Tell me about Turkey", "Tell me about turkey"),
    ("def f(x): return x", "def f(x): return -x"),
    ("evaluate (a)", "evaluate !(a)"),
    ("Explain return x;", "Explain return !x;"),
    ("profit of -x", "profit of x"),
    ("5 - 3", "5 3"),
    ("subtract a from b", "subtract b from a"),
]
ALIKE = [
    ("How do I reset my password?", "how do i reset my password"),
    ("How do I reset my password?", "HOW DO I RESET MY PASSWORD?"),
    ("How do I reset my password?", "How Do I Reset My Password"),
    ("How do I open a Pdf?", "How do I open a PDF?"),
    ("How do I unlock an iPhone?", "How do I unlock an iphone?"),
    ("Is that OK for travel?", "Is that ok for travel?"),
    ("Do you ship to the USA?", "do you ship to the usa?"),
    ("How does check-in work?", "How does check in work?"),
    ("tell me about turkey", "Tell me about Turkey"),
]


def is_served(stored: str, question: str) -> bool:
    cache = make_cache(embedder=default_embedder())
    cache.put(asked(stored), answer())
    cache.flush()
    return cache.lookup(asked(question)).hit is not None


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_a_new_cache_refuses_a_look_alike(one, other):
    assert not is_served(one, other)
    assert not is_served(other, one)


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_a_new_cache_serves_the_question_in_other_letters(one, other):
    assert is_served(one, other)
    assert is_served(other, one)


def test_what_is_read_by_other_rules_has_another_edition():
    """Where the digest is another, raise `RULES`, so that what is stored is read anew; then note both here."""
    texts = [text for pair in (*DIFFERENT, *ALIKE) for text in pair]
    digest = hashlib.blake2b(json.dumps([read(text).to_json() for text in texts]).encode(), digest_size=4).hexdigest()
    assert (edition().split("/")[0], digest) == ("2", "600ecb24")
