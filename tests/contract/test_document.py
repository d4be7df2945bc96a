"""Documents and their right answers: how they are read and refused, and how an answer about one is judged."""

import datetime
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from contract.document import FIELDS, Document, normal, read, right_answer, usable, wrong_fields
from contract.refusal import Refusal

CORPUS = read(Path(__file__).parents[2] / "scenarios/documents")
HEAD = {
    "correspondent": "[Stadtwerke Lindenau, Stadtwerke Lindenau GmbH]",
    "document_type": "[Invoice, Rechnung]",
    "document_date": "2024-03-12",
    "language": "de",
    "title": "Stromrechnung Februar 2024",
    "tags": "[energy, household]",
}
BILL = Document(
    id="bill",
    text="STADTWERKE LINDENAU GmbH\nRechnung vom 12.03.2024",
    correspondent=("Stadtwerke Lindenau", "Stadtwerke Lindenau GmbH & Co. KG", "Énergie d'Été S.A."),
    document_type=("Invoice", "Rechnung", "Pay slip"),
    document_date=datetime.date(2024, 3, 12),
    language="de",
    title="Stromrechnung Februar 2024",
    tags=("energy", "household"),
)


def write(folder: Path, name: str = "bill", text: str = "STADTWERKE LINDENAU\n", **keys: str | None) -> None:
    head = "".join(f"{key}: {value}\n" for key, value in (HEAD | keys).items() if value is not None)
    (folder / f"{name}.txt").write_text(f"---\n{head}---\n{text}", encoding="utf-8")


def refused(folder: Path) -> list[str]:
    with pytest.raises(Refusal) as refusal:
        read(folder)
    return str(refusal.value).splitlines()


def test_documents_are_read_in_the_order_of_their_ids(tmp_path):
    write(tmp_path, "b", "B\n---\nbelow a rule of its own\n")
    write(tmp_path, "a", "\n  A paper\nof two lines  \n\n")
    (tmp_path / "README.md").write_text("no document")
    first, second = read(tmp_path)
    assert (first.id, second.id) == ("a", "b")
    assert first.text == "A paper\nof two lines"
    assert second.text == "B\n---\nbelow a rule of its own"
    assert first.correspondent == ("Stadtwerke Lindenau", "Stadtwerke Lindenau GmbH")
    assert first.document_type == ("Invoice", "Rechnung")
    assert first.document_date == datetime.date(2024, 3, 12)
    assert (first.language, first.title) == ("de", "Stromrechnung Februar 2024")
    assert first.tags == ("energy", "household")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"langauge": "de"}, "no key 'langauge'; did you mean 'language'?"),
        ({"language": None}, "language: is missing"),
        ({"language": "nl"}, "language: Input should be 'de', 'en' or 'fr'"),
        (
            {"document_date": "12.03.2024"},
            "document_date: '12.03.2024' is not a date; write it like 2024-03-12",
        ),
        ({"document_date": "2024-02-30"}, "document_date: '2024-02-30' is not a date"),
        ({"document_date": "20240312"}, "document_date: '20240312' is not a date"),
        ({"correspondent": "[]"}, "correspondent: "),
        ({"correspondent": "Stadtwerke"}, "correspondent: "),
        ({"document_type": "[Invoice, '--']"}, "'--' has neither letter nor digit"),
        ({"tags": "energy"}, "tags: "),
        ({"title": "[a, b]"}, "title: "),
        ({"title": "{"}, "bill.txt: "),
        ({"text": " \n\n"}, "has no text below its head; put there what the OCR program gave"),
    ],
)
def test_a_mistake_in_a_document_is_refused_with_its_file(tmp_path, keys, words):
    write(tmp_path, **keys)
    lines = refused(tmp_path)
    assert words in "\n".join(lines)
    assert lines[0].startswith(f"{tmp_path / 'bill.txt'}: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"STADTWERKE LINDENAU", "does not begin with a head; the first line is ---"),
        (
            b"---\nlanguage: de\nSTADTWERKE",
            "its head does not end; separate it from the text with a line ---",
        ),
        (b"---\nde\n---\nSTADTWERKE", "its head has no keys; expected a mapping"),
        (b"---\nlanguage: de\nlanguage: fr\n---\nA", "the key 'language' is given twice; keep one"),
        (b"---\nlanguage: d\xfc\n---\nA", "is not UTF-8 at byte 15; save it as UTF-8"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path, content, words):
    (tmp_path / "bill.txt").write_bytes(content)
    (line,) = refused(tmp_path)
    assert line.startswith(f"{tmp_path / 'bill.txt'}: {words}")


@pytest.mark.parametrize(("old", "new"), [("", "\ufeff"), ("\n", "\r\n")], ids=["a BOM", "CRLF"])
def test_how_a_document_was_saved_changes_nothing(tmp_path, old, new):
    write(tmp_path, "bill")
    (plain,) = read(tmp_path)
    text = (tmp_path / "bill.txt").read_text()
    (tmp_path / "bill.txt").write_bytes((new + text if not old else text.replace(old, new)).encode())
    assert read(tmp_path) == [plain]


def test_all_errors_of_all_files_are_reported_at_once(tmp_path):
    write(tmp_path, "a", document_date="tomorrow", colour="red", text="")
    write(tmp_path, "b", tags=None)
    assert len(refused(tmp_path)) == 4


def test_two_documents_that_begin_alike_are_refused(tmp_path):
    write(tmp_path, "a", "x" * 200 + "one")
    write(tmp_path, "b", "x" * 199 + "ytwo")
    assert [d.id for d in read(tmp_path)] == ["a", "b"]
    write(tmp_path, "c", "x" * 200 + "three")
    (line,) = refused(tmp_path)
    assert line.startswith(f"{tmp_path / 'c.txt'}: begins like a.txt; the first 200 characters")


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_documents_is_refused(tmp_path, there):
    folder = tmp_path if there else tmp_path / "nowhere"
    assert refused(folder) == [
        f"{folder}: has no documents; a document is a file <id>.txt, a head and a text"
    ]


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("correspondent", "Stadtwerke Lindenau", True),
        ("correspondent", "  STADTWERKE\n lindenau ", True),
        ("correspondent", "Stadtwerke-Lindenau", True),
        ("correspondent", "stadtwerke lindenau gmbh & co kg", True),
        ("correspondent", "Energie d’Ete SA", True),
        ("correspondent", "ÉNERGIE D'ÉTÉ S.A.", True),
        ("correspondent", "Stadtwerke", False),
        ("correspondent", "Stadtwerke Lindenau GmbH", False),  # not among the accepted ones of this bill
        ("correspondent", "", False),
        ("correspondent", None, False),
        ("correspondent", ["Stadtwerke Lindenau"], False),
        ("document_type", "rechnung", True),
        ("document_type", "Pay-Slip", True),
        ("document_type", "Invoices", False),
        ("document_type", 7, False),
        ("document_date", "2024-03-12", True),
        ("document_date", "12.03.2024", False),
        ("document_date", "2024-3-12", False),
        ("document_date", "20240312", False),
        ("document_date", "2024-03-12T00:00:00", False),
        ("document_date", " 2024-03-12", False),
        ("document_date", "2024-03-13", False),
        ("document_date", "2024-02-30", False),
        ("language", "de", True),
        ("language", "DE", True),
        ("language", "deu", True),
        ("language", "ger", True),
        ("language", "German", True),
        ("language", "Deutsch", True),
        ("language", "de-AT", True),
        ("language", "de_DE", True),
        ("language", "en", False),
        ("language", "de, en", False),  # two, where one was requested
        ("language", "", False),
        ("language", True, False),
    ],
)
def test_a_field_is_judged(field, value, right):
    answer = right_answer(BILL) | {field: value}
    assert wrong_fields(BILL, answer) == ([] if right else [field])


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["en", "eng", "English", "Englisch", "anglais", "en-GB"]),
        ("fr", ["fr", "fra", "fre", "French", "Français", "francais", "Französisch"]),
    ],
)
def test_a_language_is_known_by_its_code_and_its_names(language, words):
    document = Document(**{**{n: getattr(BILL, n) for n in BILL.__slots__}, "language": language})
    for word in words:
        assert wrong_fields(document, right_answer(BILL) | {"language": word}) == []


def test_what_is_missing_is_wrong():
    assert wrong_fields(BILL, {}) == list(FIELDS)
    for field in FIELDS:
        answer = right_answer(BILL)
        del answer[field]
        assert wrong_fields(BILL, answer) == [field]


@pytest.mark.parametrize(
    ("content", "can_be_used"),
    [
        ('{"tags": [], "correspondent": ""}', True),
        ('```json\n{"tags": ["a"], "correspondent": "b", "more": null}\n```', True),
        ('```\n{"tags": [], "correspondent": "b"}```\n', True),
        ('\n {"tags": [], "correspondent": "b"} ', True),
        ('{"tags": "a, b", "correspondent": "b"}', False),
        ('{"tags": []}', False),
        ('{"correspondent": "b"}', False),
        ('{"tags": [], "correspondent": null}', False),
        ('{"tags": [], "correspondent": "b"', False),
        ('Here it is: {"tags": [], "correspondent": "b"}', False),
        ('{"tags": [NaN], "correspondent": "b"}', False),  # Python would accept it; no client does
        ('[{"tags": [], "correspondent": "b"}]', False),
        ('"tags correspondent"', False),
        ("[" * 100_000, False),
        ("", False),
    ],
)
def test_an_answer_is_used_by_the_clients_rules(content, can_be_used):
    assert (usable(content) is not None) == can_be_used


@pytest.mark.parametrize("document", CORPUS, ids=lambda d: d.id)
def test_the_right_answer_of_each_document_is_judged_right(document):
    answer = usable(json.dumps(right_answer(document)))
    assert answer is not None
    assert wrong_fields(document, answer) == []
    for kind in document.document_type:
        assert wrong_fields(document, answer | {"document_type": kind}) == []
    for name in document.correspondent:
        assert wrong_fields(document, answer | {"correspondent": name}) == []


KINDS = ("contract", "invoice", "letter", "manual", "payslip", "receipt")
CUT = 50_000  # characters: where the client cuts a document
MONTHS = {
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "en": "January February March April May June July August September October November December",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
}


def as_written(date: datetime.date, language: str) -> set[str]:
    """A date as the papers of the three countries have it."""
    d, m, y = date.day, date.month, date.year
    word = MONTHS[language].split()[m - 1]
    numbers = {f"{d:02}{mark}{m:02}{mark}{year}" for mark in "./" for year in (y, f"{y % 100:02}")}
    words = {f"{d}{end} {w} {y}" for end in ("", ".", "nd", "er") for w in (word, word[:3])}
    return numbers | words


def test_the_corpus_has_each_kind_in_each_language():
    found = Counter((d.id.split("_")[0], d.language) for d in CORPUS)
    assert len(CORPUS) >= 60
    assert set(found) == {(kind, language) for kind in KINDS for language in MONTHS}
    assert min(found.values()) >= 4
    assert all(d.id.split("_")[1] == d.language for d in CORPUS)


def test_exactly_one_document_is_longer_than_the_clients_cut():
    lengths = {d.id: len(d.text) for d in CORPUS}
    assert [id for id, length in lengths.items() if length > CUT] == ["manual_en_04"]
    assert sum(15_000 <= length <= 30_000 for length in lengths.values()) in (2, 3)
    assert min(lengths.values()) >= 400


@pytest.mark.parametrize("document", CORPUS, ids=lambda d: d.id)
def test_the_right_answer_is_in_the_text(document):
    """Even if it was scanned badly; in a long document on its first page."""
    page = document.text[:2000] if len(document.text) > 8000 else document.text
    assert any(f" {normal(name)} " in f" {normal(page)} " for name in document.correspondent)
    assert any(form in page for form in as_written(document.document_date, document.language))


def test_each_first_line_is_like_no_other():
    lines = [normal(d.text.splitlines()[0]) for d in CORPUS]
    assert len(set(lines)) == len(CORPUS)


def test_no_text_has_a_request_id():
    assert [d.id for d in CORPUS if re.search(r"req-[0-9a-f]", d.text, re.IGNORECASE)] == []


def test_no_account_number_is_real():
    text = "\n".join(d.text for d in CORPUS)
    ibans = re.findall(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{2,4}){3,}", text)
    assert len(ibans) > 10
    for iban in ibans:
        bare = iban.replace(" ", "").upper()
        number = "".join(str(int(c, 36)) for c in bare[4:] + bare[:4])
        assert "xx" in iban.lower() or int(number) % 97 != 1
