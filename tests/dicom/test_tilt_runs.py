"""Runs with ``untilt``, and labels on untilted images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pytest
from dicom_altered.slices import write
from dicom_altered.tilted import (
    BALL_MM,
    COUNT,
    KINDS,
    Tilted,
    ball,
    dice,
    in_order,
    middle,
    name,
    pixel_places,
    voxel_places,
)
from dicom_altered.truth import directions, place
from monai.transforms import LoadImaged

from pipeline.bundle.applying import open_inference
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.transforms import CheckLabeld, LoadLabeld
from pipeline.workflows.segment import segment


def circles(slices, center):
    """Where the ball cuts the planes of the slices, as contours in LPS mm."""
    row, column, normal = directions(slices[0])
    angles = np.linspace(0, 2 * np.pi, 181)[:-1, None]
    for dataset in slices:
        height = (place(dataset, 0, 0) - center) @ normal
        if abs(height) < BALL_MM - 0.1:
            radius = np.sqrt(BALL_MM**2 - height**2)
            yield center + height * normal + radius * (np.cos(angles) * row + np.sin(angles) * column)


def labelled(folder, label):
    image = LoadImaged("image", reader=CaseReader(untilt=True), ensure_channel_first=True)({"image": str(folder)})
    image["label"] = str(label)
    image = LoadLabeld("label", image_key="image", names={1: ["GTV"]})(image)
    return CheckLabeld("label", image_key="image", values=[0, 1])(image)


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_contours_are_filled_on_the_upright_grid(kind, tmp_path, write_rtstruct):
    center = middle(kind)
    slices = kind.write(tmp_path / "image")
    rtstruct = write_rtstruct(tmp_path / "label.dcm", {"GTV": list(circles(slices, center))}, slices[0])
    case = labelled(tmp_path / "image", rtstruct)
    mask = case["label"][0].numpy() > 0
    places = voxel_places(case["image"].affine.numpy(), mask.shape)
    assert dice(mask, np.linalg.norm(places - center, axis=-1) <= BALL_MM) > 0.99
    assert np.linalg.norm(places[mask].mean(axis=0) - center) < 0.1


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[3], KINDS[6]], ids=name)
def test_masks_of_a_run_lie_on_the_acquired_slices(kind, threshold, tmp_path):
    center = middle(kind)
    slices = in_order(kind.write(tmp_path / "case", ball(center)))
    done = segment(tmp_path / "case", bundle=threshold, output_dir=tmp_path / "out", untilt=True)
    assert done.failures == {}
    places = np.stack([pixel_places(dataset).swapaxes(0, 1) for dataset in slices], axis=2)

    nifti = nibabel.load(tmp_path / "out" / "case.nii.gz")
    assert int(nifti.header["qform_code"]) == 0
    assert int(nifti.header["sform_code"]) > 0
    np.testing.assert_allclose(voxel_places(nifti.affine, nifti.shape), places, atol=1e-3)
    labels = np.asarray(nifti.dataobj)
    assert dice(labels == 1, np.linalg.norm(places - center, axis=-1) <= BALL_MM) > 0.97
    assert np.linalg.norm(places[labels == 1].mean(axis=0) - center) < 0.3

    seg = highdicom.seg.segread(tmp_path / "out" / "case.dcm")
    assert seg.NumberOfFrames == COUNT
    positions = [tuple(map(float, dataset.ImagePositionPatient)) for dataset in slices]
    frames = [
        tuple(map(float, groups.PlanePositionSequence[0].ImagePositionPatient))
        for groups in seg.PerFrameFunctionalGroupsSequence
    ]
    assert sorted(frames) == sorted(positions)
    for at, pixels in zip(frames, seg.pixel_array, strict=True):
        np.testing.assert_array_equal(pixels, labels[:, :, positions.index(at)].T)
    assert 0 < seg.pixel_array.sum() == labels.sum()


def test_a_run_refuses_a_tilt_by_default(threshold, tmp_path):
    KINDS[0].write(tmp_path / "case")
    with pytest.raises(InputError, match=r"the gantry was tilted.*Give --untilt"):
        segment(tmp_path / "case", bundle=threshold, output_dir=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_foreign_bundle_runs_without_untilt_and_refuses_it(threshold, tmp_path):
    foreign = shutil.copytree(threshold, tmp_path / "foreign_segmentation")
    file = foreign / "configs" / "inference.json"
    config = json.loads(file.read_text())
    del config["untilt"], config["preprocessing"]["transforms"][0]["reader"]["untilt"]
    file.write_text(json.dumps(config))
    write(Tilted(degrees=0, axis=1).slices(), tmp_path / "case")
    assert segment(tmp_path / "case", bundle=foreign, output_dir=tmp_path / "out").failures == {}
    with pytest.raises(
        InputError, match=r"inference\.json: has no entry untilt\. Build it again with: medbundle build"
    ):
        segment(tmp_path / "case", bundle=foreign, output_dir=tmp_path / "out", untilt=True)


def test_masks_of_the_acquired_slices_are_no_labels_of_the_upright_image(threshold, tmp_path):
    kind = KINDS[1]
    kind.write(tmp_path / "case", ball(middle(kind)))
    segment(tmp_path / "case", bundle=threshold, output_dir=tmp_path / "out", untilt=True)
    with pytest.raises(InputError, match="the segmentation is not on the grid of the image"):
        labelled(tmp_path / "case", tmp_path / "out" / "case.dcm")
    with pytest.raises(InputError, match="differ in size"):
        labelled(tmp_path / "case", tmp_path / "out" / "case.nii.gz")


@pytest.mark.parametrize("untilt", [False, True])
@pytest.mark.parametrize(
    ("bundle", "task"),
    [("lung_nodule_ct_segmentation", "segmentation"), ("pneumonia_cxr_classification", "classification")],
)
def test_shipped_bundles_hand_untilt_to_their_reader(bundle, task, untilt, tmp_path):
    root = Path(__file__).parents[2] / "bundles" / bundle
    workflow = open_inference(
        tmp_path, bundle=root, task=task, output_dir=tmp_path, series=None, weights=None, untilt=untilt
    )
    workflow.parser.parse(reset=True)
    reader = workflow.parser.get_parsed_content("preprocessing::transforms::0::reader")
    assert isinstance(reader, CaseReader)
    assert reader.options.untilt is untilt
