"""A data set whose labels are contours or segments, from its folder to what the network is trained on."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import yaml
from monai.bundle import ConfigParser
from monai.transforms import Compose

import pipeline
from pipeline.bundle import build_bundle
from pipeline.bundle.build import built_files
from pipeline.data import DataSplit, find_pairs
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import Segment, choose, scan, write_segmentation
from pipeline.errors import InputError
from pipeline.planning import Plan
from pipeline.sources import CaseReader
from pipeline.transforms import LoadLabeld

SHAPE, SPACING_MM = (24, 20, 8), (2.0, 2.0, 3.0)
ANATOMY = ("123037004", "SCT", "Anatomical Structure")
KIDNEY, LESION = (slice(3, 9), slice(4, 11), slice(2, 6)), (slice(14, 18), slice(5, 8), slice(1, 4))


def demo_plan() -> dict:
    return yaml.safe_load((Path(pipeline.__file__).parent / "workflows" / "demo_plan.yaml").read_text())


def named_plan() -> dict:
    plan = demo_plan()
    plan["preprocessing"]["window"] = [16, 16, 8]
    plan["labels"][1]["source_names"] = ["GTV", "GTVp"]  # and the kidney goes by its own name
    return plan


def truth(case: int) -> np.ndarray:
    """Boxes, each case's its own, with axes (i, j, k) of the phantom's grid."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[KIDNEY], labels[LESION] = 1, 2
    return np.roll(labels, case, axis=0)


def contours(box: tuple[slice, ...], case: int, affine: np.ndarray) -> list[np.ndarray]:
    i, j, k = box
    corners = [(i.start, j.start), (i.stop, j.start), (i.stop, j.stop), (i.start, j.stop)]
    rings = [np.array([(a + case - 0.5, b - 0.5, c) for a, b in corners]) for c in range(k.start, k.stop)]
    return [(ring @ affine[:3, :3].T + affine[:3, 3]) * (-1, -1, 1) for ring in rings]


@pytest.fixture
def write_case(write_rtstruct):
    def write(kind: str, case: int, image: Path, label: Path) -> None:
        phantom = make_phantom(case, shape=SHAPE, spacing_mm=SPACING_MM)
        write_phantom_dicom(phantom, image)
        series = choose(scan(image))
        if kind == "RTSTRUCT":
            rois = {name: contours(box, case, phantom.affine) for name, box in (("Kidney", KIDNEY), ("gtvP", LESION))}
            write_rtstruct(label, rois, pydicom.dcmread(series.files[0]))
            return
        segments = [
            Segment(value=value, name=name, category=ANATOMY, property_type=("1234", "99TEST", name))
            for value, name in ((1, "Kidney"), (2, "GTV"))
        ]
        write_segmentation(truth(case), affine=phantom.affine, source_files=series.files, segments=segments, path=label)

    return write


@pytest.fixture
def bundle(tmp_path) -> Path:
    folder = tmp_path / "phantom_ct_segmentation"
    folder.mkdir()
    (folder / "plan.yaml").write_text(yaml.safe_dump(named_plan()))
    build_bundle(folder)
    return folder


def preprocessing(bundle: Path, config: str = "train", place: str = "train::deterministic_transforms"):
    parser = ConfigParser()
    names = ["train"] if config == "train" else ["train", config]
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in names])
    return Compose(parser.get_parsed_content(place))


@pytest.mark.parametrize("kind", ["RTSTRUCT", "SEG"])
@pytest.mark.parametrize("layout", ["file", "folder"])
def test_from_a_folder_to_the_network(kind, layout, write_case, bundle, tmp_path):
    data = tmp_path / "data"
    for case in range(6):
        label = f"labels/case{case}.dcm" if layout == "file" else f"labels/case{case}/1.2.dcm"
        write_case(kind, case, data / "images" / f"case{case}", data / label)
    split = DataSplit(dataset_dir=data, datalist_file=tmp_path / "datalist.json", folds=3, test_fraction=0.2)
    cases = [*split.training(0), *split.validation(0), *split.held_out()]
    assert sorted(case["name"] for case in cases) == [f"case{case}" for case in range(6)]
    transform = preprocessing(bundle)
    for case in cases:
        out = transform(dict(case))
        # Voxels of the plan's size need no resampling; i and j go to the left and back, k to the feet, RAS does not.
        np.testing.assert_array_equal(out["label"][0], truth(int(case["name"][-1]))[::-1, ::-1, ::-1])
        assert out["label"].shape == out["image"].shape
        np.testing.assert_allclose(out["label"].affine, out["image"].affine)
    evaluated = preprocessing(bundle, "evaluate", "validate::preprocessing::transforms")(dict(cases[0]))
    np.testing.assert_array_equal(evaluated["label"][0], truth(int(cases[0]["name"][-1])))


def test_a_data_set_with_a_json(write_case, tmp_path):
    entries = []
    for patient in ("P1", "P2"):
        write_case(
            "RTSTRUCT", 1, tmp_path / patient / "CT" / "image", tmp_path / patient / "CT" / "rtstruct" / "RS.dcm"
        )
        entries.append({"image": f"./{patient}/CT/image", "label": f"{patient}/CT/rtstruct"})
    (tmp_path / "dataset.json").write_text(json.dumps({"training": entries}))
    one, two = find_pairs(tmp_path)
    assert (one["name"], two["name"]) == ("P1_CT_image", "P2_CT_image")
    assert Path(one["image"]) == tmp_path / "P1/CT/image"
    assert Path(one["label"]) == tmp_path / "P1/CT/rtstruct/RS.dcm"
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [*entries, entries[0]]}))
    with pytest.raises(InputError, match=r"two cases have one name \(got P1_CT_image\)"):
        find_pairs(tmp_path)
    write_case("SEG", 1, tmp_path / "other", tmp_path / "P1" / "CT" / "rtstruct" / "SEG.dcm")
    (tmp_path / "dataset.json").write_text(json.dumps({"training": entries}))
    with pytest.raises(InputError, match="holds 2 label objects"):
        find_pairs(tmp_path)


def test_two_labels_of_one_case(write_case, tmp_path):
    write_case("RTSTRUCT", 1, tmp_path / "images" / "a", tmp_path / "labels" / "a.dcm")
    (tmp_path / "labels" / "a.nii.gz").touch()
    with pytest.raises(InputError, match="two files have one name"):
        find_pairs(tmp_path)


def test_other_label_maps_are_loaded_as_ever(write_case, bundle, tmp_path):
    write_case("SEG", 2, tmp_path / "image", tmp_path / "seg.dcm")
    affine = make_phantom(2, shape=SHAPE, spacing_mm=SPACING_MM).affine
    nibabel.save(nibabel.Nifti1Image(truth(2), affine), tmp_path / "label.nii.gz")
    transform = preprocessing(bundle)
    one, other = (
        transform({"image": str(tmp_path / "image"), "label": str(tmp_path / name)})
        for name in ("seg.dcm", "label.nii.gz")
    )
    np.testing.assert_array_equal(one["label"], other["label"])
    assert one["label"].dtype == other["label"].dtype
    np.testing.assert_allclose(one["label"].affine, other["label"].affine)


@pytest.mark.parametrize("config", ["train", "evaluate"])
@pytest.mark.parametrize("turn", [(0, 1, 2, 1, 1, -1), (1, 2, 0, -1, 1, 1)])
def test_label_maps_stored_the_other_way_round(config, turn, write_case, bundle, tmp_path):
    """nibabel stores the label map with other axes, in the same place, and scaled by 1/255 in 32 bits."""
    write_case("SEG", 2, tmp_path / "image", tmp_path / "seg.dcm")
    affine = make_phantom(2, shape=SHAPE, spacing_mm=SPACING_MM).affine
    plain = nibabel.Nifti1Image(truth(2), affine)
    nibabel.save(plain, tmp_path / "plain.nii.gz")
    turned = plain.as_reoriented(np.stack([turn[:3], turn[3:]], axis=1))
    scaled = nibabel.Nifti1Image(np.asarray(turned.dataobj, dtype=np.int16) * 255, turned.affine)
    nibabel.save(scaled, tmp_path / "turned.nii")
    content = bytearray((tmp_path / "turned.nii").read_bytes())
    content[112:120] = struct.pack("<ff", 1 / 255, 0)
    (tmp_path / "turned.nii").write_bytes(content)
    place = "train::deterministic_transforms" if config == "train" else "validate::preprocessing::transforms"
    transform = preprocessing(bundle, config, place)
    one, other = (
        transform({"image": str(tmp_path / "image"), "label": str(tmp_path / name)})
        for name in ("plain.nii.gz", "turned.nii")
    )
    assert set(np.unique(one["label"])) == {0, 1, 2}
    np.testing.assert_array_equal(other["label"], one["label"])
    np.testing.assert_allclose(other["label"].affine, one["label"].affine, atol=1e-4)


def test_an_image_of_another_frame_of_reference(write_case, bundle, tmp_path):
    write_case("RTSTRUCT", 1, tmp_path / "image", tmp_path / "rs.dcm")
    write_case("RTSTRUCT", 2, tmp_path / "other", tmp_path / "unused.dcm")
    with pytest.raises(RuntimeError) as error:
        preprocessing(bundle)({"image": str(tmp_path / "other"), "label": str(tmp_path / "rs.dcm")})
    assert "another frame of reference" in str(error.value.__cause__)


def test_without_names_the_cure_is_told(write_case, tmp_path):
    write_case("RTSTRUCT", 1, tmp_path / "image", tmp_path / "rs.dcm")
    reader = CaseReader()
    with pytest.raises(InputError, match=r"rs\.dcm: is a DICOM RTSTRUCT or SEG, not an image.*source_names"):
        reader.get_data(reader.read(tmp_path / "rs.dcm"))


def test_only_plans_with_source_names_load_outlines():
    def loaders(plan: dict, name: str) -> list[dict]:
        config = json.loads(built_files(Plan(**plan))[f"configs/{name}.json"])
        place = (
            config["train"]["deterministic_transforms"] if name == "train" else config["preprocessing"]["transforms"]
        )
        return [step for step in place if step["_target_"] in ("LoadImaged", "pipeline.transforms.LoadLabeld")]

    (both,) = loaders(demo_plan(), "train")
    assert both["keys"] == ["image", "label"]
    image, label = loaders(named_plan(), "train")
    assert image["keys"] == ["image"]
    assert label["names"] == {"1": ["kidney"], "2": ["GTV", "GTVp"]}
    assert loaders(demo_plan(), "inference") == loaders(named_plan(), "inference")
    assert LoadLabeld(keys=["label"], image_key="image", names=label["names"]).names[2] == ("GTV", "GTVp")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan["labels"][0].update(source_names=["gtvP "]), "must differ between labels"),
        (lambda plan: plan["labels"][0].update(name="GTV"), "must differ between labels"),
        (lambda plan: plan["labels"][0].update(source_names=[" "]), "source_names"),
        (lambda plan: plan.update(dimensions=2), "for 3D segmentation"),
    ],
)
def test_source_names_that_cannot_be(change, message):
    plan = named_plan()
    change(plan)
    with pytest.raises(ValueError, match=message):
        Plan(**plan)
