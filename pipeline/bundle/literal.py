"""Text that comes out of a config as it went in, whatever it looks like.

MONAI reads text in a config: ``$`` begins an expression, which runs, ``@`` a reference and ``%`` a macro; ``#``
anywhere becomes ``::``. What a user, a file or a plan gives is none of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle.utils import EXPR_KEY, ID_REF_KEY, MACRO_KEY

__all__ = ["inert", "literal", "literal_text"]

_MEANT = {EXPR_KEY, ID_REF_KEY, MACRO_KEY, "#"}


def literal(value: Any) -> Any:
    """A value as an entry of a config whose parsed content is that value.

    Args:
        value: text, a path (which comes out as text), or lists and mappings of such; the rest is as it is.

    Returns:
        The same with a component in the place of each text that has one of MONAI's characters.
    """
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        return {"_target_": "pipeline.bundle.literal_text", "escaped": _escaped(value)} if _MEANT & {*value} else value
    if isinstance(value, Mapping):
        return {key: literal(one) for key, one in value.items()}
    return [literal(one) for one in value] if isinstance(value, list | tuple) else value


def literal_text(escaped: str) -> str:
    r"""The text behind its escaped form, in which configs have it: as in a Python literal, ``\x24`` for ``$``."""
    return escaped.encode("ascii").decode("unicode_escape")


def inert(content: Any) -> Any:
    """What ``metadata.json`` holds, with its texts such that the parser reads nothing into them.

    MONAI's schema wants text there. So a text that begins with ``$``, ``@`` or ``%`` gets a space before, and one that
    has one of the latter two before ``#`` or ``::``, which would be a place in the config, a space between them.
    """
    if isinstance(content, Mapping):
        return {key: inert(one) for key, one in content.items()}
    if isinstance(content, list):
        return [inert(one) for one in content]
    if not isinstance(content, str):
        return content
    text = re.sub(f"([{ID_REF_KEY}{MACRO_KEY}])(?=#|::)", r"\1 ", content)
    return f" {text}" if text.startswith((EXPR_KEY, ID_REF_KEY, MACRO_KEY)) else text


def _escaped(text: str) -> str:
    ascii_text = text.encode("unicode_escape").decode("ascii")
    return "".join(f"\\x{ord(one):02x}" if one in _MEANT else one for one in ascii_text)
