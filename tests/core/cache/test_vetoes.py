"""Questions that look alike and ask for different things are told apart; rephrasings are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.reading import read
from tokenwise_core.cache.vetoes import VETOES, is_vetoed, vetoes

VOCABULARY = """is the a not my her can i you from to before after and or who what 5 5kg $500 five hundred Alice Bob
paris more less "quoted thing" `code` /etc/x v2.0 used becoming by was kept card order today monday ? . é 東京 😀"""
WORDS = st.sampled_from(VOCABULARY.split())
QUESTIONS = st.one_of(st.lists(WORDS, max_size=14).map(" ".join), st.text(max_size=60))


def between(one: str, other: str, **options) -> tuple[str, ...]:
    return vetoes(read(one), read(other), **options)


DIFFERENT = [
    ("number", "What changed in the 2012 model?", "What changed in the 2013 model?"),
    ("number", "Can I withdraw $500?", "Can I withdraw $5,000?"),
    ("number", "Can I withdraw five hundred dollars?", "Can I withdraw five thousand dollars?"),
    ("number", "Can I withdraw $500?", "Can I withdraw €500?"),
    ("number", "How do I cook 5 kg of rice?", "How do I cook 5 g of rice?"),
    ("number", "Do I get 20% off?", "Do I get 30% off?"),
    ("number", "What is the first step?", "What is the third step?"),
    ("number", "Is it closed at 8pm?", "Is it closed at 8am?"),
    ("number", "Is it -5 degrees there?", "Is it 5 degrees there?"),
    ("number", "Should I wait two weeks for it?", "Should I wait three weeks for it?"),
    ("number", "Why is iOS 9.3.1 slow?", "Why is iOS 9.1 slow?"),
    ("identifier", "Where is the driver for the HP M605x?", "Where is the driver for the HP M604n?"),
    ("identifier", "I want a refund for order A-1001", "I want a refund for order A-1002"),
    ("identifier", "How do I install v2?", "How do I install v2.0?"),
    ("identifier", "What is in /etc/hosts?", "What is in /etc/hostname?"),
    ("identifier", "What does config.yaml hold?", "What does config.json hold?"),
    ("identifier", "Is bob@example.com known?", "Is rob@example.com known?"),
    ("identifier", "What does `ls -a` do?", "What does `ls -l` do?"),
    ("identifier", "Open https://a.example/x please", "Open https://a.example/y please"),
    ("identifier", "How do I sort a list in C++?", "How do I sort a list in C#?"),
    ("identifier", "What is 2+2?", "What is 2*2?"),
    ("identifier", "What is max_tokens?", "What is min_tokens?"),
    ("quote", 'What does "access denied" mean?', 'What does "disk full" mean?'),
    ("quote", "What does “access denied” mean?", "What does “disk full” mean?"),
    ("negation", "Is it normal to fish in Latvia?", "Is it normal not to fish in Latvia?"),
    ("negation", "What should I worry about?", "What shouldn't I worry about?"),
    ("negation", "Can I pay with a card?", "Can I pay without a card?"),
    ("negation", "Can I pay but not ship it?", "Can I ship but not pay it?"),
    ("negation", "How do I become a patient person?", "How do I become a person who is never patient?"),
    ("antonym", "How do I turn on dark mode?", "How do I turn off dark mode?"),
    ("antonym", "How do I enable 2FA?", "How do I disable 2FA?"),
    ("antonym", "Is it legal to film the police?", "Is it illegal to film the police?"),
    ("antonym", "How do I upgrade my plan?", "How do I downgrade my plan?"),
    ("antonym", "How do I activate the alarm?", "How do I deactivate the alarm?"),
    ("antonym", "Where do I log in?", "Where do I log out?"),
    ("comparison", "How can I become more active?", "How can I become less active?"),
    ("comparison", "Are horses heavier than cows?", "Are cows heavier than horses?"),
    ("comparison", "Is plan A better than plan B?", "Is plan B better than plan A?"),
    ("entity", "Is Taylor Johnson an inventor?", "Is Adam Thomas an inventor?"),
    ("entity", "Is Richard Lopez an inventor?", "Is Justin Lopez an inventor?"),
    ("entity", "What are safe places in Chicago?", "What are safe places in Texarkana?"),
    ("entity", "what are good hotels in france", "what are good hotels in spain"),
    ("entity", "What are good hotels?", "What are good hotels in Lisbon?"),
    ("entity", "are you open on monday", "are you open on tuesday"),
    ("entity", "Is the report due in May?", "Is the report due in June?"),
    ("entity", "is rent due in march", "is rent due in april"),
    ("argument_order", "Does Alice owe Bob?", "Does Bob owe Alice?"),
    ("argument_order", "Alice owes Bob money", "Is it true that Bob owes Alice money?"),
    ("argument_order", "Convert from EUR to USD", "Convert from USD to EUR"),
    ("argument_order", "Is Anthony loyal to Noah?", "Is Noah loyal to Anthony?"),
    ("argument_order", "Did Laura inherit the estate?", "Was Laura inherited by the estate?"),
    ("argument_order", "Does Kyle follow Jessica?", "Is Kyle followed by Jessica?"),
    ("argument_order", "Copy /srv/a to /srv/b", "Copy /srv/b to /srv/a"),
    ("argument_order", "Is John a lawyer and Mary a doctor?", "Is Mary a lawyer and John a doctor?"),
    ("time_order", "Is it safe to exercise before 8pm?", "Is it safe to exercise after 8pm?"),
    ("time_order", "Should I wash it before I dry it?", "Should I dry it before I wash it?"),
    ("time_order", "Is Noah an accountant?", "Did Noah use to be an accountant?"),
    ("time_order", "Is Noah an accountant?", "Is Noah becoming an accountant?"),
    ("time_order", "How was the weather yesterday?", "How is the weather today?"),
    ("time_order", "What are the plans for next week?", "What were the plans for last week?"),
    ("connective", "Is she an actor or an analyst?", "Is she both an actor and an analyst?"),
    ("pronoun", "If they meet, will he reject her?", "If they meet, will she reject him?"),
    ("pronoun", "Would his family be happy?", "Would Tiffany's family be happy?"),
    ("pronoun", "Where is my order?", "Where is her order?"),
    ("pronoun", "What's my name?", "What's your name?"),
    ("pronoun", "Where is my order?", "Where is their order?"),
    ("question", "When was the bridge built?", "Why was the bridge built?"),
    ("question", "How much can I send?", "How often can I send?"),
    ("topic", "Can I feed my goat nuts?", "Can I feed my monkey nuts?"),
    ("topic", "I hurt my head playing tennis. Is this common?", "I hurt my knee playing tennis. Is this common?"),
    ("topic", "I have a mac. How do I install it?", "I have a tablet. How do I install it?"),
    ("modifier", "Is Lauren a journalist?", "Is Lauren a freelance journalist?"),
    ("modifier", "Is Lauren a journalist?", "Is Lauren a well-known journalist?"),
    ("entity", "Is Jordan Long a poet?", "Is Jordan Little a poet?"),
    ("entity", "Is Björn O'Brien a poet?", "Is Björn Li a poet?"),
    ("antonym", "Show the orders over $100", "Show the orders under $100"),
    ("antonym", "Who wants to buy shares?", "Who wants to sell shares?"),
    ("argument_order", "Who killed Hamlet?", "Who did Hamlet kill?"),
    ("argument_order", "Did Mary give John the book?", "Did John give Mary the book?"),
    ("argument_order", "What does the CEO think of the CTO?", "What does the CTO think of the CEO?"),
    ("argument_order", "How many grams in a pound?", "How many pounds in a gram?"),
    ("argument_order", "Does Chase admire Will?", "Is Chase admired by Will?"),
    ("time_order", "Who is the president?", "Who was the president?"),
    ("pronoun", "Do you have children?", "Do I have children?"),
    ("pronoun", "How old are you?", "How old am I?"),
    ("pronoun", "What did he say to her?", "What did she say to him?"),
    ("topic", "How do I cancel my order?", "How do I cancel my subscription?"),
    ("entity", "What is the capital of austria?", "What is the capital of australia?"),
    ("topic", "Is Ann an editor or a poet?", "Is Ann both a nurse and a pilot?"),
    ("identifier", "Is 5 > 3?", "Is 5 < 3?"),
    ("topic", "Is x < y?", "Is x > y?"),
    ("topic", "What does 😀 mean?", "What does 😂 mean?"),
    ("argument_order", "convert EUR → USD", "convert USD → EUR"),
    ("argument_order", "subtract a from b", "subtract b from a"),
    ("argument_order", "divide a by b", "divide b by a"),
    ("letter_case", "Convert 5 mW to W", "Convert 5 MW to W"),
    ("letter_case", "How far do 5MW go?", "How far do 5mW go?"),
    ("letter_case", "Convert mW to W", "Convert MW to W"),
    ("letter_case", "convert 5 mw to w", "Convert 5 MW to W"),
    ("letter_case", "How many Mb is 3 GB?", "How many MB is 3 GB?"),
    ("letter_case", "Convert Mb to MB", "Convert MB to Mb"),
    ("letter_case", "Is a dose of 5 mg safe?", "Is a dose of 5 Mg safe?"),
    ("letter_case", "dose of 5 mg", "dose of 5 Mg"),
    ("letter_case", "Is 5 m a lot?", "Is 5 M a lot?"),
    ("letter_case", "Balance of account aB3", "Balance of account Ab3"),
    ("letter_case", "balance of account ab3", "balance of account aB3"),
    ("letter_case", "What does getValue do?", "What does GetValue do?"),
    ("letter_case", "My password is Secret", "My password is secret"),
    ("letter_case", "My password is 'Secret'", "My password is 'secret'"),
    ("letter_case", "what is variable Foo", "what is variable foo"),
    ("letter_case", "Is 'Foo' valid?", "Is 'foo' valid?"),
    ("letter_case", "Explain X to me", "Explain x to me"),
    ("letter_case", "What does IT do?", "What does it do?"),
    ("letter_case", "What does IT do?", "what does it do?"),
    ("letter_case", "Is he WHO staff?", "Is he who staff?"),
    ("letter_case", "What is AIDS?", "What is aids?"),
    ("letter_case", "Tell me about Turkey", "Tell me about turkey"),
    ("letter_case", "how do I export china", "how do I export China"),
    ("letter_case", "What is polish?", "What is Polish?"),
    ("letter_case", "Who will march in March?", "Who will March in march?"),
    ("letter_case", "Was machen Sie mit meinem Konto?", "Was machen sie mit meinem Konto?"),
    ("identifier", "What does grep -r do?", "What does grep -R do?"),
    ("identifier", "What does tar -c do?", "What does tar -C do?"),
    ("identifier", "What does rm -rf do?", "What does rm -RF do?"),
    ("identifier", "Does git push --force work?", "Does git push force work?"),
    ("identifier", "def f(x): return x", "def f(x): return -x"),
    ("identifier", "What is the sum of x and total = -total?", "What is the sum of x and total = total?"),
    ("identifier", "Explain return x;", "Explain return !x;"),
    ("identifier", "profit of -x", "profit of x"),
    ("identifier", "What is 5 - 3?", "What is 5 3?"),
    ("sign", "evaluate (a)", "evaluate !(a)"),
    ("sign", "solve x - y", "solve x y"),
    ("sign", "What is a / b?", "What is a b?"),
    ("sign", "Is a != b?", "Is a = b?"),
    ("sign", "When is x && y true?", "When is x || y true?"),
    ("sign", "What is x-y?", "What is x y?"),
    ("sign", "What is y = x'?", "What is y = x?"),
    ("identifier", "What is the profit of -total?", "What is the profit of total?"),
    ("identifier", "Explain *p", "Explain p"),
    ("letter_case", "My password is hunter2", "My password is Hunter2"),
    ("letter_case", "my code is xY", "my code is Xy"),
]


@pytest.mark.parametrize(("name", "one", "other"), DIFFERENT)
def test_a_question_that_asks_for_something_else_is_vetoed_by_the_veto_of_that_name(name, one, other):
    assert name in between(one, other)
    assert name in between(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Can I withdraw $500?", "Can I withdraw 500 dollars?"),
        ("Can I withdraw $500?", "can I withdraw five hundred dollars"),
        ("Can I withdraw $500?", "Can I withdraw 500 USD?"),
        ("Can I withdraw $500?", "Can I withdraw 500?"),
        ("Can I withdraw $5,000.00?", "Can I withdraw $5k?"),
        ("What is the 1st step?", "What is the first step?"),
        ("Do I get 20% off?", "Do I get 20 percent off?"),
        ("How do I cook 5 kg of rice?", "How do I cook 5kg of rice?"),
        ("Is it open at 8 pm?", "Is it open at 8pm?"),
        ("Is it open at 8:00 pm?", "Is it open at 20:00?"),
        ("I can't log in", "I cannot log in"),
        ("I can’t log in", "I can not log in"),
        ("Why isn't my card working?", "Why is my card not working?"),
        ("Is it not impossible to win?", "Is it possible to win?"),
        ("How do I become a person who is not careless?", "How do I become a person who is careful?"),
        ("How can I become less pessimistic?", "How can I become more optimistic?"),
        ("I don't know how to reset my password", "How to reset my password?"),
        ("What does “access denied” mean?", 'What does "access denied" mean?'),
        ("What does 'access denied' mean?", "what does access denied mean"),
        ("good hotels in Paris", "good hotels in paris"),
        ("Did Rebecca keep the farm?", "Was the farm kept by Rebecca?"),
        ("Did Maria steal the castle?", "Was the castle stolen by Maria?"),
        ("Does Brian deserve Michael?", "Is Michael deserved by Brian?"),
        ("Is Alexander married to Kevin?", "Is Kevin married to Alexander?"),
        ("What is the difference between cats and dogs?", "What is the difference between dogs and cats?"),
        ("Are calves smaller than worms?", "What is smaller, worms or calves?"),
        ("Which is better, tea or coffee?", "Which is better, coffee or tea?"),
        ("Who do parents think is the best cook?", "Who is the best cook according to parents?"),
        ("Is Mark an editor or an author?", "Is Mark an author or an editor?"),
        ("Is Noah an Ethiopian administrator?", "Is Noah an administrator and Ethiopian?"),
        ("Is Scott lying to Alyssa?", "Is Scott really lying to Alyssa?"),
        ("Is that pig asleep on the sofa?", "Is that pig in fact asleep on the sofa?"),
        (
            "My pet dog eats carrots. Is it normal for animals to eat carrots?",
            "My pet hen eats carrots. Is it normal for animals to eat carrots?",
        ),
        ("Where do I change my address?", "How do I change my address?"),
        ("Cancel my order please", "cancel my order"),
        ("How do I reset my password? 😀", "How do I reset my password?"),
        ("How do I get a new card?", "How can I obtain an additional card?"),
        ("How Do I Reset My Password", "how do i reset my password"),
        ("HOW DO I RESET MY PASSWORD", "how do i reset my password"),
        ("Show me my last payment", "Show my last payment"),
        ("How do I turn off notifications?", "How do I switch notifications off?"),
        ("Do you ship to the USA?", "do you ship to the United States"),
        ("In Chicago, what are the best hotels?", "What are the best hotels in Chicago?"),
        ("cheap flights from New York to Boston", "cheap flights to Boston from New York"),
        ("Is it due on January 3rd?", "Is it due on 3 January?"),
        ("Did May choose the ring?", "Was the ring chosen by May?"),
        ("Is May engaged to Will?", "Is Will engaged to May?"),
        ("How do you close an account?", "How do I close an account?"),
        ("What's the time difference between Tokyo and Rome?", "What's the time difference between Rome and Tokyo?"),
        ("Cancel my order", "cancel my Order"),
        ("The card is lost. What now?", "the card is lost. what now?"),
        ("tell me about turkey", "Tell me about Turkey"),
        ("TELL ME ABOUT TURKEY", "Tell me about turkey"),
        ("Turkey: what is the weather?", "turkey: what is the weather?"),
        ("Tell Me About Turkey", "Tell me about Turkey"),
        ("CONVERT 5 MW TO W", "Convert 5 MW to W"),
        ("how many mb is 3 gb", "How many MB is 3 GB?"),
        ("Is 5 KG heavy?", "Is 5 kg heavy?"),
        ("Is 5 Kg heavy?", "Is 5kg heavy?"),
        ("Is a 50 mbps line fast?", "Is a 50 Mbps line fast?"),
        ("Is 5 mhz fast?", "Is 5 MHz fast?"),
        ("Can I send $5M?", "Can I send $5m?"),
        ("What does IT stand for?", "WHAT DOES IT STAND FOR?"),
        ("Open the Pdf", "Open the PDF"),
        ("Open the pdf", "Open the PDF"),
        ("What is an iphone?", "What is an iPhone?"),
        ("Is the Iphone15 out?", "Is the iPhone15 out?"),
        ("Is Github down?", "Is GitHub down?"),
        ("Is that ok?", "Is that OK?"),
        ("Do you ship to the usa?", "Do you ship to the USA?"),
        ("Is Hunter here? I mean Hunter Lee.", "I mean Hunter Lee. Is Hunter here?"),
        ("If Jack and Mary marry, is Jack happy?", "Is Jack happy if Jack and Mary marry?"),
        ("Can I use apple pay?", "Can I use Apple Pay?"),
        ("Do I need my PIN?", "Do I need my pin?"),
        ("what is h2o", "What is H2O?"),
        ("Is order A-1001 late?", "is order a-1001 late?"),
        ("How does check-in work?", "How does check in work?"),
        ("I lost it - what now?", "I lost it, what now?"),
        ("I lost it -what now?", "I lost it, what now?"),
        ("Compare:\n- rent\n- food", "Compare:\n* rent\n* food"),
        ("Compare:\n-rent\n-food", "Compare: rent food"),
        ("What is *this* about?", "What is this about?"),
        ("I log in -still no card", "I log in, still no card"),
        ("What is x-y?", "What is x - y?"),
        ("It does not work!", "It does not work"),
        ("It does not work!Help", "It does not work! Help"),
        ("Do I have to pay", "Do I have to pay?!"),
        ("Can I have a card from a shop?", "can I have a card from a shop"),
        ("", ""),
        ("", " \n"),
    ],
)
def test_a_rephrased_question_passes(one, other):
    assert between(one, other) == between(other, one) == ()


def test_a_term_of_the_user_s_must_stand_in_both_questions_or_in_neither():
    terms = ("Gold Plan", "C++")
    gold = read("What does the gold  plan cost?", protected=terms)
    plain = read("What does the plan cost?", protected=terms)
    assert vetoes(gold, plain, off=("modifier",)) == ("protected",)
    assert vetoes(gold, read("what does the GOLD PLAN cost", protected=terms)) == ()
    assert read("marigold plans", protected=terms).protected == frozenset()
    assert read("Learn C++.", protected=terms).protected == {"c++"}


@pytest.mark.parametrize("name", VETOES)
def test_a_veto_switched_off_never_fires(name):
    off = (name,)
    assert all(name not in between(one, other, off=off) for _, one, other in DIFFERENT)
    assert between("Is it 5?", "Is it 6?", off=VETOES) == ()


@pytest.mark.parametrize(
    ("off", "one", "other"),
    [
        ("number", "Can I send 5 parcels?", "Can I send 6 parcels?"),
        ("entity", "Is it sunny in Rome?", "Is it sunny in Oslo?"),
        ("identifier", "Where is order A-1001?", "Where is order A-1002?"),
        ("antonym", "How do I open an account?", "How do I close an account?"),
        ("topic", "Can I feed my goat nuts?", "Can I feed my monkey nuts?"),
    ],
)
def test_each_difference_belongs_to_one_veto_so_that_a_policy_can_do_without_it(off, one, other):
    assert between(one, other) == (off,)
    assert between(one, other, off=(off,)) == ()


def test_every_veto_has_an_example():
    assert {name for name, _, _ in DIFFERENT} | {"protected"} == set(VETOES)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("¿Cuánto cuesta enviar 5 kg?", "¿Cuánto cuesta enviar 6 kg?"),
        ("Как открыть файл config.yaml?", "Как открыть файл config.json?"),
        ("「設定」を開くには", "「設定」を3回開くには"),
        ("Was bedeutet „Zugriff verweigert“ für mich?", "Was bedeutet „Platte voll“ für mich?"),
    ],
)
def test_other_languages_are_compared_by_numbers_quotes_and_identifiers(one, other):
    assert not read(one).english
    assert set(between(one, other)) & {"number", "identifier", "quote"}


def test_english_word_lists_are_not_applied_to_other_languages():
    # "no" denies in Spanish too, but no list of ours says what
    assert between("¿Por qué no puedo pagar con la tarjeta?", "¿Por qué puedo pagar con la tarjeta?") == ()


@given(QUESTIONS)
def test_a_question_never_vetoes_itself(text):
    reading = read(text, protected=("bob", "code"))
    assert vetoes(reading, reading) == vetoes(reading, read(text, protected=("bob", "code"))) == ()


@given(QUESTIONS, QUESTIONS)
def test_vetoes_are_symmetric(one, other):
    assert between(one, other) == between(other, one)


@given(QUESTIONS, QUESTIONS, st.sets(st.sampled_from(VETOES)))
def test_switching_vetoes_off_takes_away_these_and_no_others(one, other, off):
    assert between(one, other, off=off) == tuple(name for name in between(one, other) if name not in off)


@given(QUESTIONS, QUESTIONS, st.sets(st.sampled_from(sorted(VETOES))))
def test_there_is_a_veto_where_one_is_named(one, other, off):
    asked, stored = read(one), read(other)
    assert is_vetoed(asked, stored, off=off) == bool(vetoes(asked, stored, off=off))
