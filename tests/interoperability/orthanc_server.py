"""A real Orthanc on loopback, and DICOMweb (PS3.18) with the standard library."""

from __future__ import annotations

import http.client
import io
import json
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import pydicom

CALLING_AE_TITLE = "TESTS"
LOCAL = "127.0.0.1"
READY_S = 60


@dataclass(frozen=True)
class Orthanc:
    """An Orthanc that runs."""

    http_port: int
    dicom_port: int

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[str, bytes]:
        """Give the content type and the body of an answer of status 200."""
        connection = http.client.HTTPConnection(LOCAL, self.http_port, timeout=30)
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, content
            return answer.headers["Content-Type"], content
        finally:
            connection.close()

    def series_of(self, study_uid: str) -> set[str]:
        """QIDO-RS: the SeriesInstanceUIDs of a study (PS3.18 10.6)."""
        _kind, body = self.request("GET", f"/dicom-web/studies/{study_uid}/series", Accept="application/dicom+json")
        return {pydicom.Dataset.from_json(one).SeriesInstanceUID for one in json.loads(body)}

    def retrieve_series(self, study_uid: str, series_uid: str) -> list[pydicom.Dataset]:
        """WADO-RS: all instances of a series as they are stored (PS3.18 10.4)."""
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        kind, body = self.request("GET", f"/dicom-web/studies/{study_uid}/series/{series_uid}", Accept=accept)
        message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts = [part.get_payload(decode=True) for part in message.get_payload()]
        return [pydicom.dcmread(io.BytesIO(part)) for part in parts]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return probe.getsockname()[1]


@contextmanager
def running_orthanc(program: str, dicom_web: Path, folder: Path):
    """Run Orthanc with its storage in a folder; it answers to this machine alone, and always ends."""
    orthanc = Orthanc(http_port=free_port(), dicom_port=free_port())
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(dicom_web)],
        "HttpPort": orthanc.http_port,
        "RemoteAccessAllowed": False,
        "DicomPort": orthanc.dicom_port,
        "DicomModalities": {"tests": [CALLING_AE_TITLE, LOCAL, orthanc.dicom_port]},
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "UnknownSopClassAccepted": True,  # it may be older than the Label Map Segmentation Storage of 2024
        "SyncStorageArea": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(orthanc, process, folder / "log.txt")
            yield orthanc
        finally:
            process.kill()  # what it stores is thrown away, so that it need not put it in order
            process.wait()


def _wait(orthanc: Orthanc, process: subprocess.Popen, log: Path) -> None:
    """Wait until both of its servers answer."""
    end = time.monotonic() + READY_S
    while not _answers(orthanc):
        if time.monotonic() > end or process.poll() is not None:
            raise AssertionError(f"Orthanc does not answer:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _answers(orthanc: Orthanc) -> bool:
    try:
        orthanc.request("GET", "/dicom-web/studies", Accept="application/dicom+json")
        socket.create_connection((LOCAL, orthanc.dicom_port), timeout=1).close()
    except OSError:
        return False
    return True
