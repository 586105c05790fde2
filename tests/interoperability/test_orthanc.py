"""Label objects sent with storescu to a real Orthanc on loopback, and fetched back over DICOMweb."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest
from interoperability.label_decoding import same_segmentation, same_structures
from interoperability.orthanc_server import CALLING_AE_TITLE, LOCAL, Orthanc, running_orthanc
from interoperability.programs import find_program, missing

PLUGIN = "libOrthancDicomWeb.so"
PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins", "/usr/lib/orthanc")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    found = find_program("Orthanc", "/usr/sbin", "/usr/local/sbin")
    plugin = next((Path(at, PLUGIN) for at in PLUGIN_FOLDERS if Path(at, PLUGIN).is_file()), None)
    if plugin is None:
        missing(f"Orthanc's plugin {PLUGIN}")
    with running_orthanc(found, plugin, tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def there_and_back(orthanc, tmp_path_factory):
    """Send an object and its images with storescu; give it as it is fetched, and as it was sent."""
    sent_images: set[Path] = set()
    configuration = tmp_path_factory.mktemp("storescu") / "objects.cfg"

    def both(path: Path, images: list[Path]) -> tuple[pydicom.Dataset, pydicom.Dataset]:
        if not sent_images.issuperset(images):
            store(orthanc, images)
            sent_images.update(images)
        sent = pydicom.dcmread(path)
        propose(sent, configuration)
        store(orthanc, [path], "--config-file", configuration, "Objects")
        source = pydicom.dcmread(images[0], stop_before_pixels=True)
        assert orthanc.series_of(source.StudyInstanceUID) >= {source.SeriesInstanceUID, sent.SeriesInstanceUID}
        (fetched,) = orthanc.retrieve_series(sent.StudyInstanceUID, sent.SeriesInstanceUID)
        return fetched, sent

    return both


def store(orthanc: Orthanc, paths: list[Path], *options: str | Path) -> None:
    command = [find_program("storescu"), *options, "-aet", CALLING_AE_TITLE, LOCAL, str(orthanc.dicom_port), *paths]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")


def propose(dataset: pydicom.Dataset, configuration: Path) -> None:
    """Let storescu propose what an object is stored as and nothing else: it might convert it, or not know its class."""
    lines = (
        "[[TransferSyntaxes]]",
        "[Stored]",
        f"TransferSyntax1 = {dataset.file_meta.TransferSyntaxUID}",
        "[[PresentationContexts]]",
        "[Objects]",
        f"PresentationContext1 = {dataset.SOPClassUID}\\Stored",
        "[[Profiles]]",
        "[Objects]",
        "PresentationContexts = Objects",
    )
    configuration.write_text("\n".join(lines))


def test_segmentation(made, there_and_back):
    fetched, sent = there_and_back(made.segmentation, made.images)
    same_segmentation(fetched, made)
    same_dataset(fetched, sent)


def test_structures(drawn, there_and_back):
    fetched, sent = there_and_back(drawn.structures, drawn.images)
    same_structures(fetched, drawn)
    same_dataset(fetched, sent)


def same_dataset(fetched: pydicom.Dataset, sent: pydicom.Dataset) -> None:
    """Compare all elements; of the file meta information (PS3.10 7.1), what the archive may not choose."""
    assert fetched == sent
    for keyword in ("TransferSyntaxUID", "MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID"):
        assert fetched.file_meta[keyword] == sent.file_meta[keyword]
