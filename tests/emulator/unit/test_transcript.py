from __future__ import annotations

import pytest

from tencent_ci_emulator.media.transcript import Sentence, Word, spread_text


def texts(sentences):
    return [sentence.text for sentence in sentences]


def test_each_line_is_a_sentence_and_each_chinese_character_a_word():
    english, chinese = spread_text("Don't stop, it's 3.5 o'clock.\n\n你好，世界abc。\n", 10.0)
    assert [word.text for word in english.words] == ["Don't", "stop", ",", "it's", "3.5", "o'clock", "."]
    assert [word.text for word in chinese.spoken_words] == ["你", "好", "世", "界", "abc"]
    assert texts([english, chinese]) == ["Don't stop, it's 3.5 o'clock.", "你好，世界abc。"]


def test_words_are_spread_over_the_whole_recording_by_their_length():
    first, second = spread_text("a much-longer one!\nb", 20.0)
    assert (first.start, second.end) == (0.0, 20.0)
    words = [*first.words, *second.words]
    assert [one.end for one in words[:-1]] == [one.start for one in words[1:]]
    lengths = {one.text: one.end - one.start for one in words}
    assert lengths["much-longer"] == pytest.approx(6 * lengths["a"])
    assert lengths["!"] == 0


def test_a_text_of_nothing_has_no_sentences():
    assert spread_text(" \n\n", 5.0) == []
    assert texts(spread_text("...", 5.0)) == ["..."]


def test_clauses_end_at_punctuation_and_are_no_longer_than_asked_for():
    [sentence] = spread_text("One two, three four five six. Seven", 7.0)
    assert texts(sentence.split()) == ["One two,", "three four five six.", "Seven"]
    assert texts(sentence.split(10)) == ["One two,", "three four", "five six.", "Seven"]
    assert texts(sentence.split(3)) == ["One", "two,", "three", "four", "five", "six.", "Seven"]


def test_a_sentence_lasts_from_its_first_word_to_its_last():
    sentence = Sentence((Word("good", 1.5, 2.0), Word("night", 2.25, 3.0)))
    assert (sentence.text, sentence.start, sentence.end) == ("good night", 1.5, 3.0)
