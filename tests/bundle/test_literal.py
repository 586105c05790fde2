"""Whatever a text holds, MONAI's parser gives it back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from pipeline.bundle import literal
from pipeline.bundle.literal import inert

# Mostly of what the parser has a meaning for; lone surrogates are names of files that are no text.
TEXTS = st.one_of(st.text(), st.text(alphabet="$@%#:+_\\'\"0123 abc()\n\u00fc\udcff", max_size=12))
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), st.integers()), lambda one: st.lists(one, max_size=3), max_leaves=6
)


@given(value=VALUES, other=TEXTS)
def test_a_literal_is_parsed_to_what_it_was_made_of(value: Any, other: str) -> None:
    config = {
        "value": literal(value),
        "within": {"_target_": "builtins.dict", "one": "@value", "two": [literal(other), {"deep": literal(value)}]},
        "expression": "$[@value, 1]",
        "device": "somewhere",
    }
    parser = ConfigParser(json.loads(json.dumps(config)))
    assert parser.get_parsed_content("value") == value
    assert parser.get_parsed_content("within") == {"one": value, "two": [other, {"deep": value}]}
    assert parser.get_parsed_content("expression") == [value, 1]


@given(text=TEXTS)
def test_metadata_keep_their_words_and_nothing_is_read_into_them(text: str) -> None:
    parser = ConfigParser({"_meta_": {"name": inert(text), "many": inert([{"deep": text}])}, "x": "$1 + 1"})
    assert parser.get_parsed_content("x") == 2
    for entry in (parser.get_parsed_content("_meta_::name"), parser.get_parsed_content("_meta_::many")[0]["deep"]):
        assert entry.replace(" ", "") == text.replace("#", "::").replace(" ", "")  # MONAI reads # as ::
        assert len(entry) <= len(text.replace("#", "::")) + 1 + text.count("@") + text.count("%")
