from __future__ import annotations

import re
import subprocess
import zlib
from collections import Counter
from datetime import datetime

import numpy as np
import pydicom
import pytest
from dicomanonymizer.simpledicomanonymizer import initialize_actions
from interoperability.programs import find_program
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipeline.dicom.deidentification.attributes import deidentify_dataset, silent_pydicom
from pipeline.dicom.deidentification.profile import Action, action_for
from pipeline.dicom.deidentification.pseudonyms import Pseudonyms, read_key, read_uid_map, write_uid_map
from pipeline.errors import InputError

TABLE = [Tag(tag) for tag in initialize_actions("dicomfields_2026c") if len(tag) == 2]
CANARIES = {
    "PN": "Canary^Bird",
    "CS": "CANARY",
    "AE": "CANARY",
    "DA": "17760704",
    "DT": "17760704235958.5",
    "TM": "235958.25",
    "AS": "098Y",
    "DS": "31337.5",
    "IS": "313373",
    "UI": "1.2.3.666666.7",
    "UR": "http://canary.example",
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC"), "canary"),
    **dict.fromkeys(("OB", "OW", "UN", "OB or OW"), b"canaries"),
    **dict.fromkeys(("US", "UL", "SS"), 31337),
}
TOKENS = (
    b"canar",
    b"17760704",
    b"235958",
    b"098y",
    b"31337",
    b"1.2.3.666666",
    b"zyxwvut",
    b"qpon",
    b"secret",
    b"195112",
)
PATIENT = {"PatientName": "Zyxwvut^Qponml", "PatientID": "SECRET-90210", "PatientBirthDate": "19511203"}
# What the patient's own names and IDs are is taken out of every text: the canaries must not be among them.
OWN = dict.fromkeys(("OtherPatientIDs", "OtherPatientNames", "PatientBirthName"), "Zyxwvut")
KEPT_VALUES = {"PatientName", "PatientID", "PatientBirthDate", "ROIName", *OWN}


def item(**values) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def plant(dataset: Dataset, depth: int = 0) -> list[str]:
    """Give every attribute of the profile's table that pydicom knows a value to be found again."""
    planted = []
    for tag in TABLE:
        keyword = keyword_for_tag(tag)
        if not dictionary_has_tag(tag) or tag.group < 8 or keyword in KEPT_VALUES:
            continue
        vr = dictionary_VR(tag)
        if vr == "SQ":
            below = item(PatientName="Canary^Below", ReferencedSOPInstanceUID=CANARIES["UI"])
            value = Sequence([below])
        else:
            value = CANARIES[vr]
        dataset[tag] = DataElement(tag, "OB" if vr == "OB or OW" else vr, value)
        planted.append(keyword)
    dataset.Manufacturer = "made for ZYXWVUT"
    block = dataset.private_block(0x0009, "canary maker", create=True)
    block.add_new(1, "LO", "canary")
    block.add_new(2, "SQ", [item(PatientName="Canary^Private")])
    for tag, vr, value in (
        ((0x6000, 0x3000), "OB", b"canaries"),
        ((0x6002, 0x4000), "LT", "canary"),
        ((0x6002, 0x0022), "LO", "canary"),
        ((0x5000, 0x3000), "OB", b"canaries"),
        ((0x0020, 0x3100), "CS", "CANARY"),
        ((0x0018, 0x0009), "LO", "canary"),  # of no dictionary
    ):
        dataset[tag] = DataElement(tag, vr, value)
    if depth < 2:
        for keyword in ("ContributingEquipmentSequence", "SourceImageSequence", "StructureSetROISequence"):
            below = item(ROIName="GTV of zyxwvut, born 19511203")
            plant(below, depth + 1)
            setattr(dataset, keyword, [below])
    return planted


def canaries_in(content: bytes) -> set[bytes]:
    return {token for token in TOKENS if token in content.lower()}


def content_of(path) -> bytes:
    """The bytes of a file, with what is deflated inflated as well."""
    raw = path.read_bytes()
    if pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return raw
    with path.open("rb") as file:
        file.seek(132)
        length = pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
    return raw + zlib.decompress(raw[132 + 12 + length :], -zlib.MAX_WBITS)


@pytest.mark.parametrize("dates", ["remove", "shift"])
@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: UID(uid).keyword,
)
def test_no_canary_is_left(study, tmp_path, syntax, dates):
    dataset = study.read()[0]
    pixels, klass = dataset.PixelData, dataset.SOPClassUID
    planted = plant(dataset)
    assert len(planted) > 550
    for keyword, value in (PATIENT | OWN).items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels
    dataset.SOPClassUID = klass
    dataset.file_meta.SourceApplicationEntityTitle = dataset.file_meta.ImplementationVersionName = "CANARY"
    dataset.file_meta.PrivateInformationCreatorUID = CANARIES["UI"]
    dataset.file_meta.PrivateInformation = b"canaries"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.preamble = (b"canary" * 30)[:128]
    dataset.DataSetTrailingPadding = b"canaries"
    path = tmp_path / "planted"
    dataset.set_original_encoding(syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian, ["iso8859"])
    dataset.save_as(path, enforce_file_format=True)
    assert canaries_in(content_of(path)) == set(TOKENS), "each is found where it was planted"

    read = pydicom.dcmread(path)
    changes = deidentify_dataset(read, Pseudonyms(), dates=dates)
    read.save_as(tmp_path / "clean", enforce_file_format=True)
    left = canaries_in(content_of(tmp_path / "clean"))
    # The shifted dates are others, and the times stay.
    assert left == (set() if dates == "remove" else {b"235958"})
    clean = pydicom.dcmread(tmp_path / "clean")
    assert clean.PixelData == pixels
    assert clean.file_meta.TransferSyntaxUID == syntax
    assert clean.file_meta.MediaStorageSOPInstanceUID == clean.SOPInstanceUID
    assert not any(element.tag.is_private for element in clean.iterall())
    assert changes.private == 3 * (1 + 3 + 3 * 3)
    assert clean.StructureSetROISequence[0].ROIName == "GTV of subject-0001, born subject-0001"
    assert clean.Manufacturer == "made for subject-0001"


def test_what_is_required_is_still_there(study):
    """Type 1 and 2 attributes of the modules that identify, and what the image needs (PS3.3 A.3)."""
    for before in study.read():
        dataset = pydicom.dcmread(before.filename)
        deidentify_dataset(dataset, Pseudonyms())
        gone = {element.keyword for element in before} - {element.keyword for element in dataset}
        assert gone == {"SeriesDescription"}
        assert (dataset.PatientIdentityRemoved, dataset.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")
        code = dataset.DeidentificationMethodCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")
        assert code.CodeMeaning == "Basic Application Confidentiality Profile"
        assert all(len(value) <= 64 for value in dataset.DeidentificationMethod)
        assert (dataset.PatientID, str(dataset.PatientName)) == ("subject-0001", "subject-0001")
        assert dataset.PatientBirthDate == dataset.StudyDate == dataset.StudyID == ""
        assert dataset.preamble == bytes(128)


@pytest.mark.parametrize("dates", ["remove", "shift"])
@pytest.mark.parametrize("kind", ["CT/image", "MR_T1/image", "PET/image", "CT/rtstruct"])
def test_no_new_errors_by_dciodvfy(shared_data, tmp_path, kind, dates):
    before = next((shared_data / "STS_Sarcoma" / "STS_001" / kind).glob("*.dcm"))
    dataset = pydicom.dcmread(before)
    deidentify_dataset(dataset, Pseudonyms(), dates=dates)
    dataset.save_as(tmp_path / "after.dcm", enforce_file_format=True)

    def errors(path) -> Counter[str]:
        done = subprocess.run([find_program("dciodvfy"), path], capture_output=True, text=True, check=False)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
        return Counter(re.sub("<.*?>", "<>", line) for line in lines)

    assert errors(tmp_path / "after.dcm") - errors(before) == Counter()


def test_uids_are_replaced_alike_everywhere(study):
    first, second = study.read()[:2]
    known = "1.2.840.10008.1.4.1.1"  # the Talairach brain atlas, which PS3.6 defines
    first.ReferencedImageSequence = [
        item(ReferencedSOPClassUID=second.SOPClassUID, ReferencedSOPInstanceUID=second.SOPInstanceUID)
    ]
    first.IrradiationEventUID = [second.SOPInstanceUID, first.SOPInstanceUID]
    first.SourceFrameOfReferenceUID = known
    first.TargetFrameOfReferenceUID = first.FrameOfReferenceUID  # the profile's table does not have it
    first.ProcedureCodeSequence = [
        item(CodeValue="X", CodingSchemeDesignator="99A", CodeMeaning="x", CodingSchemeUID="1.2.3.4", ContextUID=known)
    ]
    old = (first.SOPInstanceUID, first.SOPClassUID, first.FrameOfReferenceUID)
    pseudonyms = Pseudonyms()
    deidentify_dataset(first, pseudonyms)
    deidentify_dataset(second, pseudonyms)
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.ReferencedImageSequence[0].ReferencedSOPInstanceUID == second.SOPInstanceUID
    assert list(first.IrradiationEventUID) == [second.SOPInstanceUID, first.SOPInstanceUID]
    assert first.SOPInstanceUID != old[0]
    assert first.SOPClassUID == old[1] == first.ReferencedImageSequence[0].ReferencedSOPClassUID
    assert first.TargetFrameOfReferenceUID == first.FrameOfReferenceUID != old[2]
    assert first.SourceFrameOfReferenceUID == known
    assert first.ProcedureCodeSequence[0].CodingSchemeUID == "1.2.3.4"
    assert all(
        element.value.is_valid for element in first.iterall() if element.VR == "UI" and isinstance(element.value, UID)
    )


def test_shifted_dates_keep_their_intervals(study):
    first, second = study.read()[:2]
    first.StudyDate, second.StudyDate = "20200215", "20200323"
    first.AcquisitionDateTime, second.AcquisitionDateTime = "20200215101112.25+0200", "20200323101112.25+0200"
    with silent_pydicom():
        first.SeriesDate, second.SeriesDate = "2020.02.15", "202003"
    first.StudyTime = "101112.25"
    first.PatientBirthDate = "19500101"
    pseudonyms = Pseudonyms()
    for dataset in (first, second):
        deidentify_dataset(dataset, pseudonyms, dates="shift")
    one, other = (datetime.strptime(dataset.StudyDate, "%Y%m%d") for dataset in (first, second))
    assert (other - one).days == 37, "29 February between them"
    assert 1 <= (datetime(2020, 2, 15) - one).days <= 3650
    assert first.SeriesDate == first.StudyDate
    assert second.SeriesDate == "", "a month alone cannot move by days"
    assert first.AcquisitionDateTime == f"{first.StudyDate}101112.25+0200"
    assert first.StudyTime == "101112.25"
    assert first.PatientBirthDate == ""
    assert first.LongitudinalTemporalInformationModified == "MODIFIED"
    assert [code.CodeValue for code in first.DeidentificationMethodCodeSequence] == ["113100", "113107"]


def test_patients(study):
    first, second, third, fourth = study.read()[:4]
    second.PatientID = "OTHER"
    del third.PatientID
    third.PatientName = "Nobody^Else"
    for dataset in (first, second, third, fourth):
        dataset.StudyDate = "20200215"
    pseudonyms = Pseudonyms(prefix="case")
    names = [deidentify_dataset(dataset, pseudonyms, dates="shift").name for dataset in (first, second, third, fourth)]
    assert names == ["case-0001", "case-0002", "case-0003", "case-0001"]
    assert len({dataset.StudyDate for dataset in (first, second, third)}) == 3
    assert fourth.StudyDate == first.StudyDate


def test_a_key_gives_the_same_again(study, tmp_path):
    results = []
    for secret in (b"k" * 32, b"k" * 32, b"l" * 32):
        (tmp_path / "key").write_bytes(secret)
        dataset = study.read()[0]
        deidentify_dataset(dataset, Pseudonyms(key=read_key(tmp_path / "key")), dates="shift")
        results.append((dataset.PatientID, dataset.SOPInstanceUID, dataset.StudyDate))
    assert results[0] == results[1]
    assert all(one != other for one, other in zip(results[0], results[2], strict=True))
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(InputError, match=r"too short to be a secret .*got 5"):
        read_key(tmp_path / "key")
    with pytest.raises(InputError, match="cannot be read"):
        read_key(tmp_path / "none")


def test_a_map_gives_the_same_again(study, tmp_path):
    path, results = tmp_path / "map.json", []
    for index in (0, 1, 0):
        dataset = study.read()[index]
        dataset.PatientID = f"SECRET-{index}"
        pseudonyms = Pseudonyms(known=read_uid_map(path))
        deidentify_dataset(dataset, pseudonyms, dates="shift")
        write_uid_map(path, pseudonyms)
        results.append((dataset.PatientID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyDate))
    assert results[0] == results[2]
    assert results[1][0] == "subject-0002"
    assert results[1][2] == results[0][2]
    assert path.stat().st_mode & 0o077 == 0
    assert b"SECRET" not in path.read_bytes()
    for content in ("[]", "{", '{"uids": {"1": 2}, "patients": {}}'):
        path.write_text(content)
        with pytest.raises(InputError, match="UID map"):
            read_uid_map(path)


def test_without_the_key_a_guess_cannot_be_checked():
    """Each run has a key of its own: hashing all likely UIDs leads nowhere."""
    assert Pseudonyms().uid("1.2.3") != Pseudonyms().uid("1.2.3")
    new = np.array([len(Pseudonyms().uid("1.2.3")) for _ in range(50)])
    assert new.max() <= 64


@pytest.mark.parametrize(
    ("keyword", "vr", "shift", "action"),
    [
        ("PatientBirthDate", "DA", True, Action.EMPTY),
        ("StudyDate", "DA", True, Action.DATE),
        ("StudyDate", "DA", False, Action.EMPTY),
        ("SeriesDescription", "LO", False, Action.REMOVE),
        ("DeviceSerialNumber", "LO", False, Action.DUMMY),
        ("EvaluatorName", "PN", False, Action.EMPTY),  # not in the table
        ("RequestAttributesSequence", "SQ", False, Action.REMOVE),
        ("SourceImageSequence", "SQ", False, Action.KEEP),
        ("SourceImageSequence", "OB", False, Action.REMOVE),  # no items that could be looked into
        ("DecayCorrection", "CS", False, Action.CODE),
        ("SOPInstanceUID", "LO", False, Action.UID),  # a VR of its own does not save it
    ],
)
def test_actions(keyword, vr, shift, action):
    assert action_for(Tag(keyword), vr, shift=shift) is action
