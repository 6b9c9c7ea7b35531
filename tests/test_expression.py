"""Input expressions: what they mean, their canonical text, and every way to get one wrong."""

import random
import time

import pytest

from viscnn.engine.expression import Expression, parse
from viscnn.errors import ExpressionError


@pytest.mark.parametrize(
    ("text", "terms", "canonical"),
    [
        ("tiger", [(1, "tiger")], "tiger"),
        ("tiger - overall", [(1, "tiger"), (-1, "overall")], "tiger - overall"),
        (
            '"Border Collie" + "German Shepherd" + Bernese_mountain_dog',
            [(1, "Border Collie"), (1, "German Shepherd"), (1, "Bernese_mountain_dog")],
            '"Border Collie" + "German Shepherd" + Bernese_mountain_dog',
        ),
        (
            "0.5*(cat + dog) - 2*truck",
            [(0.5, "cat"), (0.5, "dog"), (-2, "truck")],
            "0.5*cat + 0.5*dog - 2*truck",
        ),
        ("-cat+-dog", [(-1, "cat"), (-1, "dog")], "-cat - dog"),
        ("--cat", [(1, "cat")], "cat"),
        ("a - (b - (c - d))", [(1, "a"), (-1, "b"), (1, "c"), (-1, "d")], "a - b + c - d"),
        ("cat - dog*2 / 4", [(1, "cat"), (-0.5, "dog")], "cat - 0.5*dog"),
        ("cat+cat", [(2, "cat")], "2*cat"),
        ("cat + dog - cat", [(1, "dog")], "dog"),
        ("0*cat + dog", [(1, "dog")], "dog"),
        ("0.1*cat + 0.2*cat - 0.3*cat + dog", [(1, "dog")], "dog"),
        ("cat / 3 * 3", [(1, "cat")], "cat"),
        ("2/4*cat", [(0.5, "cat")], "0.5*cat"),
        ("1/(4)*cat", [(0.25, "cat")], "0.25*cat"),
        ("(2 + 3)*cat/ 2", [(2.5, "cat")], "2.5*cat"),
        ("(cat+dog)/2", [(0.5, "cat"), (0.5, "dog")], "0.5*cat + 0.5*dog"),
        ("1e3*cat", [(1000, "cat")], "1000*cat"),
        ("1e-3*cat", [(0.001, "cat")], "0.001*cat"),
        (".5*cat", [(0.5, "cat")], "0.5*cat"),
        ("1e-7*cat", [(1e-07, "cat")], "1e-07*cat"),
        ("1e20*cat", [(1e20, "cat")], "1e+20*cat"),
        ("Cat - cat", [(1, "Cat"), (-1, "cat")], "Cat - cat"),
        ("\tcat \n - dog ", [(1, "cat"), (-1, "dog")], "cat - dog"),
    ],
)
def test_meaning(text: str, terms: list[tuple[float, str]], canonical: str) -> None:
    expression = parse(text)
    assert expression.terms == tuple(terms)
    assert str(expression) == canonical
    assert parse(canonical) == expression


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0102_n01872401_echidna.jpg", "0102_n01872401_echidna.jpg"),
        ("images/0102_echidna.jpg", "images/0102_echidna.jpg"),
        ("mnist/00017", "mnist/00017"),
        ("./a.png", "./a.png"),
        ("#517", "#517"),
        ("n02012849", "n02012849"),
        ("2cat", "2cat"),
        ("3/cat", "3/cat"),
        ("1/2/cat.png", "1/2/cat.png"),
        ("1.5.3", "1.5.3"),
        ("1e", "1e"),
        ("café", "café"),
        ("cafe\u0301", "café"),
        ("東京タワー", "東京タワー"),
        ('"3"', "3"),
        ("'2.5'", "2.5"),
        ('"1e3"', "1e3"),
        ('"half/"', "half/"),
        ('"a (b) * c"', "a (b) * c"),
        (r'"say \"hi\""', 'say "hi"'),
        (r"'it\'s'", "it's"),
        ('"it\'s"', "it's"),
        (r'"C:\temp\\x"', r"C:\temp\x"),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_names(text: str, name: str) -> None:
    expression = parse(text)
    assert expression.terms == ((1.0, name),)
    assert expression.names == (name,)
    assert parse(str(expression)) == expression


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("cat -", "ends too early, where an image set, a number or ( is expected"),
        ("cat - (", "ends too early, where an image set"),
        ("(cat", "bracket at column 1 is not closed"),
        ("((cat) + dog", "bracket at column 1 is not closed"),
        ("2*(cat + (dog)", "bracket at column 3 is not closed"),
        ('"a)" + (b', "bracket at column 8 is not closed"),
        ("cat)", "bracket at column 4 closes none"),
        ("()", "unexpected ')' at column 2, where an image set, a number or ( is expected"),
        ("* cat", "unexpected '*' at column 1"),
        ("cat * / dog", "unexpected '/' at column 7"),
        ("cat//2", "unexpected '/' at column 5"),
        ("Border Collie", "unexpected 'Collie' at column 8, where + - * / or the end is expected; names with spaces"),
        ("2 cat", "unexpected 'cat' at column 3"),
        ("cat (dog)", "unexpected '(' at column 5"),
        ("cat\n! dog", "unexpected '!' at column 5"),
        ("cat − dog", "unexpected '−' at column 5"),
        ("cat ** 2", "unexpected '*' at column 6"),
        ("cat = 1", "unexpected '='"),
        ("'abc", "quote at column 1 is not closed"),
        ('cat - "dog', "quote at column 7 is not closed"),
        ('""', "quotes hold no name (column 1)"),
        ("cat * dog", "cannot be multiplied with each other (column 5)"),
        ("(cat + dog)*(cat - dog)", "cannot be multiplied with each other (column 12)"),
        ("cat / dog", "nothing can be divided by an image set (column 5)"),
        ("1 / dog", "nothing can be divided by an image set (column 3)"),
        ("cat + 1", "a number cannot be added"),
        ("1 - cat", "a number cannot be added"),
        ("2*(3 + cat)", "(column 6)"),
        ("cat / 0", "division by zero (column 5)"),
        ("cat / (1 - 1.0)", "division by zero (column 5)"),
        ("3", 'names no image set (a set named 3 is written "3")'),
        ("3 + 4", "names no image set"),
        ("cat - cat", "cancels out"),
        ("0*cat", "cancels out"),
        ("1e999*cat", "the number 1e999 is too long, too large or too small"),
        ("1e-31*cat", "too small"),
        ("1" * 5000 + "*cat", "is too long"),
        ("1e30*(1e30*cat)", "the coefficient of 'cat' is out of range"),
        ("1e-30*(1e-30*cat)", "the coefficient of 'cat' is out of range"),
        ("cat + " * 5000 + "cat", "at most 20000"),
        ("__import__('os').system('x')", "unexpected '('"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_messages_have_no_words_of_the_parser() -> None:
    for text in ("cat -", "(cat", "cat)", "a b", "cat ! dog", "'a", "cat*dog"):
        with pytest.raises(ExpressionError) as caught:
            parse(text)
        for word in ("NAME", "NUMBER", "RIGHT", "LEFT", "QUOTED", "$END", "Token", "lark"):
            assert word not in str(caught.value)


def test_depth_and_length_are_no_danger() -> None:
    began = time.monotonic()
    assert parse("(" * 9000 + "cat" + ")" * 9000).terms == ((1.0, "cat"),)
    assert parse("-" * 9999 + "cat").terms == ((-1.0, "cat"),)
    with pytest.raises(ExpressionError, match="out of range"):
        parse("1e30*" * 3900 + "cat")
    assert time.monotonic() - began < 10


def test_canonical_text_of_any_terms_parses_back() -> None:
    chance = random.Random(7)
    letters = "ab3 ./#-_\"'\\()*+é"
    for _ in range(300):
        names = {"x" + "".join(chance.choices(letters, k=chance.randint(0, 5))) for _ in range(4)}
        terms = tuple((chance.choice([-1, 1]) * chance.uniform(1e-9, 1e9), name) for name in sorted(names))
        assert parse(str(Expression(terms))) == Expression(terms)


def test_renaming_merges() -> None:
    expression = parse("Cat - 0.5*cat + dog").renamed(str.lower)
    assert expression == parse("0.5*cat + dog")
    with pytest.raises(ExpressionError, match="cancels out"):
        parse("Cat - cat").renamed(str.lower)
