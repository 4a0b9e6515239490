"""Which values are literals, and which rendered texts show that a template has failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task
from jinja2 import Environment

from airflow_provider_ci.operators.templates import (
    has_rendered_none_inside,
    is_literal,
    is_rendered_collection,
)

RENDERED: dict[str, Any] = {
    "nothing": None,
    "text": "song",
    "title": "Second to None of Them",
    "path_with_none": "in/None/x.mp3",
}


@pytest.mark.parametrize(
    "value",
    ["in/a.mp3", "${jobid}", b"{{ a }}", 5, None, True, ["a", ("b",)], {"a": {"b": "c"}}, Path("in")],
    ids=repr,
)
def test_a_literal(value: Any) -> None:
    assert is_literal(value)


@pytest.mark.parametrize(
    "value",
    ["{{ a }}", "in/{% if a %}b{% endif %}", "{# a #}", ["a", "{{ b }}"], {"a": ["{{ b }}"]}, iter("a"), len],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_no_literal(value: Any) -> None:
    assert not is_literal(value)


def test_an_output_of_another_task_is_no_literal() -> None:
    @task
    def key() -> str:
        return "in/a.mp3"

    with DAG("d", schedule=None):
        assert not is_literal(key())


@pytest.mark.parametrize(
    "text",
    [
        "['a', 'b']",
        "[]",
        " {'a': 1} ",
        "('a',)",
        "{1}",
        "LazySelectSequence([3 items])",
        "LazyXComSequence(<?>)",
    ],
)
def test_a_collection_that_became_a_text(text: str) -> None:
    assert is_rendered_collection(text)


@pytest.mark.parametrize("text", ["[live].mp3", "(1)", "LazySequence.mp3", "{a}", "[" * 5000 + "]", "a"])
def test_a_text_that_is_no_collection(text: str) -> None:
    assert not is_rendered_collection(text)


@pytest.mark.parametrize(
    "template",
    [
        "in/{{ nothing }}.mp3",
        "in/{% if true %}sub/{{ nothing }}{% endif %}/x.mp3",
        "{% set key = nothing %}in/{{ key }}/x.mp3",
        "in/{% for each in (1, nothing) %}{{ each }}-{% endfor %}x.mp3",
        "in/{# the run #}{{ nothing }}/{# the file #}x.mp3",
        "in/{{ text }}/{# not None #}{{ nothing }}",
        "in/ {{- nothing }}/x.mp3",
        "in/{{ nothing -}} \n .mp3",
        "in/{% if true -%} {{ nothing }} {%- endif %}.mp3",
        "in/{{ nothing }}.mp3\n",
        "in/{{ {'}}': nothing}['}}'] }}.mp3",
        "in/{% raw %}{{ x }}{% endraw %}/{{ nothing }}.mp3",
        "{{ nothing ~ '/y' }}",
        "{{ 'r-%s' % nothing }}",
        "{{ 'in/{}.mp3'.format(nothing) }}",
        "{{ ['in', nothing] | join('/') }}",
        "{{ path_with_none }}",
        "take{{ nothing }}.mp3",
        "{{ nothing }}-1250000000",
        "https://{{ nothing }}/callback",
        "https://user:secret@example.com/{{ nothing }}?token=secret",
    ],
)
def test_a_part_of_a_template_that_became_none(template: str) -> None:
    text = Environment(autoescape=True).from_string(template).render(RENDERED)
    assert has_rendered_none_inside(template, text)


@pytest.mark.parametrize(
    "template",
    [
        "in/{{ text }}.mp3",
        "in/{{ title }}.mp3",
        "in/{{ title }} - {{ text }}.mp3",
        "{{ 'in/' ~ title ~ '.mp3' }}",
        "in/None/{{ text }}.mp3",
        "{{ 'in/None/' ~ text }}",
        "{% if text %}in/None/{% endif %}{{ text }}.mp3",
        "in/{{ text if text is not none else 'None' }}.mp3",
    ],
)
def test_a_none_that_is_meant(template: str) -> None:
    text = Environment(autoescape=True).from_string(template).render(RENDERED)
    assert not has_rendered_none_inside(template, text)


def test_a_literal_may_have_none_in_it() -> None:
    assert not has_rendered_none_inside(None, "in/None/x.mp3")
