"""New UIDs, names and dates for those that identify a patient, the same wherever an old one comes again."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import uuid
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipeline.dicom.elements import hashed, text
from pipeline.documents import read_json
from pipeline.errors import InputError
from pipeline.writing import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

__all__ = ["Pseudonyms", "read_key", "read_uid_map", "shifted_date", "write_uid_map"]

_UID_FORM = re.compile(r"[0-9]+(\.[0-9]+)+")
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # with points before the edition of 1993
_LEAST_KEY_BYTES = 16
_MOST_DAYS = 3650


class Pseudonyms:
    """What stands for the UIDs, patients and dates of a run.

    A new value is an HMAC-SHA-256 (RFC 2104) of the old one: whoever has the key gets the same again, and without it
    nobody gets back to the old value or can try one out.

    Args:
        prefix: of the names of patients.
        key: the secret. Without one, a random key lives as long as this object, and patients are numbered.
        known: what :func:`read_uid_map` returned; those values stay as they are there.
    """

    def __init__(
        self, *, prefix: str = "subject", key: bytes | None = None, known: dict[str, Any] | None = None
    ) -> None:
        self._prefix = prefix
        self._numbered = key is None
        self._key = secrets.token_bytes(32) if key is None else key
        self.uids: dict[str, str] = {} if known is None else known["uids"]
        self.patients: dict[str, dict[str, Any]] = {} if known is None else known["patients"]

    def uid(self, old: str) -> str:
        """Return the UID that stands for another, below the root 2.25 (PS3.5 B.2)."""
        if old in self.uids:
            return self.uids[old]
        new = f"2.25.{uuid.UUID(bytes=self._digest('uid', old)[:16], version=4).int}"
        if _UID_FORM.fullmatch(old):  # a text in the place of a UID would be kept in the map
            self.uids[old] = new
        return new

    def patient(self, dataset: Dataset) -> tuple[str, int]:
        """Return the name of a data set's patient, and by how many days the dates move into the past.

        One PatientID is one patient; where it is absent, one PatientName, or else one study.
        """
        identity = hashed(dataset, "PatientID") or hashed(dataset, "PatientName")
        identity = identity or hashlib.sha256(text(dataset, "StudyInstanceUID").encode()).hexdigest()
        if identity not in self.patients:
            days = 1 + int.from_bytes(self._digest("days", identity)[:8], "big") % _MOST_DAYS
            self.patients[identity] = {"name": self._name(identity), "days": days}
        known = self.patients[identity]
        return str(known["name"]), int(known["days"])

    def _name(self, identity: str) -> str:
        if not self._numbered:  # numbers would depend on which other patients a run has
            return f"{self._prefix}-{self._digest('patient', identity).hex()[:12]}"
        taken = {known["name"] for known in self.patients.values()}
        number = len(taken) + 1
        while (name := f"{self._prefix}-{number:04d}") in taken:
            number += 1
        return name

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.new(self._key, f"{kind}:{value}".encode(), hashlib.sha256).digest()


def shifted_date(written: str, days: int) -> str:
    """Return a DA or DT value moved into the past, with its time as it was; "" where it holds no whole date."""
    match = _DATE.match(written.strip())
    if match is None:
        return ""
    try:
        moved = date(*map(int, match.groups())) - timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}".rjust(8, "0") + re.sub(r"[^0-9.+-]", "", written.strip()[match.end() :])


def read_key(path: Path) -> bytes:
    """Read a secret key from a file.

    Raises:
        InputError: the file cannot be read, or is too short to be a secret.
    """
    try:
        key = path.read_bytes()
    except OSError as error:
        raise InputError("the key cannot be read", where=path, got=error.strerror) from error
    if len(key) < _LEAST_KEY_BYTES:
        raise InputError(
            "the key is too short to be a secret",
            where=path,
            expected=f"{_LEAST_KEY_BYTES} bytes or more",
            got=len(key),
            cure=f"Make one with: head -c 32 /dev/urandom > {path.name}",
        )
    return key


def read_uid_map(path: Path) -> dict[str, Any]:
    """Read what :func:`write_uid_map` wrote; what is empty where the file does not exist yet.

    Raises:
        InputError: the file is none of ours.
    """
    if not path.exists():
        return {"uids": {}, "patients": {}}
    content = read_json(path, cure="Give the UID map that medbundle deidentify wrote")
    if not _is_uid_map(content):
        raise InputError("is no UID map", where=path, expected="a file that medbundle deidentify wrote")
    return dict(content)


def _is_uid_map(content: Any) -> bool:
    if not isinstance(content, dict) or not all(isinstance(content.get(part), dict) for part in ("uids", "patients")):
        return False
    uids = all(isinstance(new, str) for new in content["uids"].values())
    return uids and all(
        isinstance(known, dict) and isinstance(known.get("name"), str) and isinstance(known.get("days"), int)
        for known in content["patients"].values()
    )


def write_uid_map(path: Path, pseudonyms: Pseudonyms) -> None:
    """Write which UID stands for which, as JSON that only its owner may read: it identifies the patients again.

    Patients are told by a hash of their ID.

    Raises:
        InputError: the file cannot be written.
    """
    content = {"uids": pseudonyms.uids, "patients": pseudonyms.patients}
    with whole_file(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
