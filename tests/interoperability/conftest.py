from __future__ import annotations

from pathlib import Path

import pytest
from interoperability.label_objects_made import CASES, SOURCES, Made, make_objects


@pytest.fixture(scope="session")
def make(tmp_path_factory, request):
    """Give the label objects of a case by its name, made once, and once the images that cases share."""
    known: dict[str, Made] = {}
    images: dict[object, Path] = {}

    def of_case(name: str) -> Made:
        case = CASES[name]
        if case.real:
            images[case.source] = request.getfixturevalue("shared_data") / case.source
        elif case.source not in images:
            images[case.source] = tmp_path_factory.mktemp("images")
            case.source(images[case.source])
        if name not in known:
            known[name] = make_objects(case, tmp_path_factory.mktemp("objects"), images[case.source])
        return known[name]

    return of_case


@pytest.fixture(params=CASES)
def made(request, make) -> Made:
    """The objects of each case in turn."""
    return make(request.param)


@pytest.fixture(params=SOURCES)
def drawn(request, make) -> Made:
    """The objects on each source in turn."""
    return make(request.param)
