"""What is said in a recording: sentences, whose words have times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_CHINESE = "\u3400-\u9fff\uf900-\ufaff"
# Each Chinese character is a word, as is what other scripts write without a space, and each other mark
_TOKEN = re.compile(rf"(\s*)([{_CHINESE}]|[^\W{_CHINESE}](?:[^\W{_CHINESE}]|['’.-](?=[^\W{_CHINESE}]))*|\S)")
_CLAUSE_ENDS = frozenset(",.;:!?，。；：！？、")


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a punctuation mark.

    :param start: in seconds from the beginning of the recording, as is ``end``.
    :param follows_space: a space is before it.
    """

    text: str
    start: float
    end: float
    follows_space: bool = True

    @property
    def is_punctuation(self) -> bool:
        """Whether it is no word."""
        return not any(one.isalnum() for one in self.text)


@dataclass(frozen=True, slots=True)
class Sentence:
    """At least one word."""

    words: tuple[Word, ...]

    @property
    def start(self) -> float:
        """In seconds from the beginning of the recording."""
        return self.words[0].start

    @property
    def end(self) -> float:
        """In seconds from the beginning of the recording."""
        return self.words[-1].end

    @property
    def text(self) -> str:
        """The words as they are written."""
        return "".join(" " * word.follows_space + word.text for word in self.words).strip()

    @property
    def spoken_words(self) -> tuple[Word, ...]:
        """The words without the punctuation."""
        return tuple(word for word in self.words if not word.is_punctuation)

    def split(self, longest: int | None = None) -> Iterator[Sentence]:
        """Yield its clauses: they end at punctuation, and before more than ``longest`` characters."""
        clause: list[Word] = []
        for word in self.words:
            is_full = longest is not None and len(Sentence((*clause, word)).text) > longest
            if clause and is_full and not word.is_punctuation:
                yield Sentence(tuple(clause))
                clause = []
            clause.append(word)
            if word.text in _CLAUSE_ENDS:
                yield Sentence(tuple(clause))
                clause = []
        if clause:
            yield Sentence(tuple(clause))


def spread_text(text: str, seconds: float) -> list[Sentence]:
    """Return a text as if it were spoken evenly in the whole of a recording: each line is a sentence."""
    lines = [tokens for line in text.splitlines() if (tokens := _TOKEN.findall(line))]
    total = sum(_weight(token) for tokens in lines for _, token in tokens)
    sentences, position = [], 0
    for tokens in lines:
        words = []
        for space, token in tokens:
            start, position = position, position + _weight(token)
            times = (seconds * start / max(total, 1), seconds * position / max(total, 1))
            words.append(Word(token, *times, follows_space=bool(space)))
        sentences.append(Sentence(tuple(words)))
    return sentences


def _weight(token: str) -> int:
    """Return how long a token takes to say, in relation to others."""
    return len(token) + 1 if token[0].isalnum() else 0
