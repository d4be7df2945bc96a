"""A document from an OCR program with its right answer, and how a classifier's answer about it is judged.

A folder has one file per document, `<id>.txt`: a head of YAML between two lines `---`, then the text. The judging is pure
and exact: an answer is one of the accepted spellings, or it is wrong.
"""

import datetime
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field

from contract import textfile
from contract.refusal import Refusal
from contract.strict import Strict, validate

FIELDS: Final = ("correspondent", "document_type", "document_date", "language")
"""The judged fields. A document is right if all four are."""
BEGINNING: Final = 200
"""The first characters of a text; they identify the document."""
Language = Literal["de", "en", "fr"]
_LANGUAGES: dict[Language, frozenset[str]] = {
    "de": frozenset({"de", "deu", "ger", "german", "deutsch", "allemand"}),
    "en": frozenset({"en", "eng", "english", "englisch", "anglais"}),
    "fr": frozenset({"fr", "fra", "fre", "french", "franzosisch", "francais"}),
}
_RULE = "---\n"
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_JOINING = re.compile(r"[.'’‘`]")  # S.A.R.L. = SARL, d’emploi = d'emploi
_REGION = re.compile(r"(?<=\A[A-Za-z]{2})[-_][A-Za-z]{2}\Z")  # de-AT = de
_PARTING = re.compile(r"[\W_]+")
_FENCES = re.compile(r"```(?:json)?\n?")


@dataclass(frozen=True, slots=True)
class Document:
    """One document of the corpus. All spellings of a tuple are accepted; the first is the right answer."""

    id: str  # the file's stem
    text: str  # from the OCR program, stripped
    correspondent: tuple[str, ...]
    document_type: tuple[str, ...]
    document_date: datetime.date
    language: Language
    title: str
    tags: tuple[str, ...]


def wrong_fields(document: Document, answer: Mapping[str, Any]) -> list[str]:
    """Which of FIELDS are wrong in the answer, in their order. A field that is missing or not a string is wrong.

    Correspondent and document type are compared without regard to case, accents, punctuation and runs of spaces. The
    date must be written as YYYY-MM-DD. A language is its code or its name, in the three
    languages, with or without a region (`de`, `deu`, `German`, `de-AT`).
    """
    return [name for name in FIELDS if not _is_right(document, name, answer.get(name))]


def usable(content: str) -> dict[str, Any] | None:
    """The answer's JSON object by the rules of a client (Paperless-AI), or None if the client cannot use it.

    Fences are stripped; `tags` must be an array and `correspondent` a string. Other keys are not checked.
    """
    try:
        found = json.loads(_FENCES.sub("", content).strip(), parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if not isinstance(found.get("tags"), list) or not isinstance(found.get("correspondent"), str):
        return None
    return found


def right_answer(document: Document) -> dict[str, Any]:
    """The object of an answer in which all fields are right."""
    return {
        "title": document.title,
        "correspondent": document.correspondent[0],
        "tags": list(document.tags),
        "document_type": document.document_type[0],
        "document_date": document.document_date.isoformat(),
        "language": document.language,
    }


def read(folder: Path) -> list[Document]:
    """All documents of the folder, by id. Raises Refusal with one line for each error in all files."""
    paths = sorted(folder.glob("*.txt"), key=lambda path: path.stem)
    if not paths:
        raise Refusal(f"{folder}: has no documents; a document is a file <id>.txt, a head and a text")
    documents: list[Document] = []
    mistakes: list[str] = []
    for path in paths:
        try:
            documents.append(read_text(path.stem, _unix(textfile.read(path)), str(path)))
        except Refusal as e:
            mistakes.append(str(e))
    mistakes += _alike(folder, documents)
    if mistakes:
        raise Refusal("\n".join(mistakes))
    return documents


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(id: str, content: str, where: str) -> Document:
    """One file's content as a document; `where` begins each line of a refusal. Raises Refusal."""
    head, text = _parts(content, where)
    mistakes: list[str] = []
    found = None
    try:
        found = validate(_mapping(head, where), _Head, where)
    except Refusal as e:
        mistakes.append(str(e))
    if not text:
        mistakes.append(f"{where}: has no text below its head; put there what the OCR program gave")
    if mistakes or found is None:
        raise Refusal("\n".join(mistakes))
    return Document(id=id, text=text, **dict(found))


def _spelling(text: str) -> str:
    if not normal(text):
        raise ValueError(f"{text!r} has neither letter nor digit; write the expected answer")
    return text


def _date(text: object) -> datetime.date:
    found = _iso(text)
    if found is None:
        raise ValueError(f"{text!r} is not a date; write it like 2024-03-12")
    return found


Spelling = Annotated[str, AfterValidator(_spelling)]
Spellings = Annotated[tuple[Spelling, ...], Field(min_length=1)]


class _Head(Strict):
    correspondent: Spellings
    document_type: Spellings
    document_date: Annotated[datetime.date, BeforeValidator(_date)]
    language: Language
    title: Spelling
    tags: tuple[Spelling, ...]


def _parts(content: str, where: str) -> tuple[str, str]:
    """Head and text; the text is stripped."""
    if not content.startswith(_RULE):
        raise Refusal(f"{where}: does not begin with a head; the first line is ---, then the keys, then ---")
    head, end, text = content.removeprefix(_RULE).partition("\n" + _RULE)
    if not end:
        raise Refusal(f"{where}: its head does not end; separate it from the text with a line ---")
    return head, text.strip()


def _mapping(head: str, where: str) -> dict[str, Any]:
    """All values as strings, as written: YAML would convert dates and booleans."""
    try:
        node = yaml.compose(head, Loader=yaml.BaseLoader)
        if not isinstance(node, yaml.MappingNode):
            raise Refusal(f"{where}: its head has no keys; expected a mapping")
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise Refusal("\n".join(f"{where}: the key {key!r} is given twice; keep one" for key in twice))
        found: dict[str, Any] = yaml.load(head, Loader=yaml.BaseLoader)
    except yaml.YAMLError as e:
        raise Refusal(f"{where}: {str(e).strip()}") from None
    return found


def _alike(folder: Path, documents: list[Document]) -> Iterator[str]:
    first: dict[str, str] = {}
    for document in documents:
        other = first.setdefault(document.text[:BEGINNING], document.id)
        if other != document.id:
            yield (
                f"{folder / document.id}.txt: begins like {other}.txt; the first {BEGINNING} characters of a text "
                "must be unique, because they identify the document"
            )


def _is_right(document: Document, name: str, value: object) -> bool:
    if not isinstance(value, str):
        return False
    if name == "document_date":
        return _iso(value) == document.document_date
    if name == "language":
        return normal(_REGION.sub("", value)) in _LANGUAGES[document.language]
    return normal(value) in {normal(spelling) for spelling in getattr(document, name)}


def normal(text: str) -> str:
    """A name without case, accents, punctuation and runs of spaces."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(_PARTING.sub(" ", _JOINING.sub("", bare.casefold())).split())


def _iso(text: object) -> datetime.date | None:
    if not isinstance(text, str) or not _ISO.fullmatch(text):
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
