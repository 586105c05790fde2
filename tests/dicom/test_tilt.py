"""Series of a tilted gantry on an upright grid, and labels back on their slices, against formulas and SimpleITK."""

from __future__ import annotations

import itertools

import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_altered.slices import STEP_MM, move, other_instance, stack, write
from dicom_altered.tilted import (
    BALL_MM,
    COLUMN_MM,
    COLUMNS,
    COUNT,
    KINDS,
    LEVEL,
    ROW_MM,
    ROWS,
    SLOPE,
    Tilted,
    ball,
    dice,
    in_order,
    middle,
    name,
    pixel_places,
    second_derivative,
    voxel_places,
    waves,
)
from dicom_altered.truth import LPS_TO_RAS, directions, place, rescaled
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import LoadImaged

from pipeline.dicom import DicomSeriesReader, choose, load, scan
from pipeline.dicom.reading.tilt import Shear
from pipeline.errors import InputError
from pipeline.sources import CaseReader

ALL = pytest.mark.parametrize("kind", KINDS, ids=name)


def read(folder):
    reader = CaseReader(untilt=True)
    return reader.get_data(reader.read(folder))


@ALL
def test_the_upright_volume_is_the_function_at_its_voxels(kind, tmp_path):
    slices = in_order(kind.write(tmp_path))
    array, meta = read(tmp_path)
    places = voxel_places(meta["affine"], array.shape)
    row, column, _ = directions(slices[0])
    lowest = min(float(rescaled(dataset).min()) for dataset in slices)
    outside = min(lowest, -1000) if kind.modality == "CT" else lowest
    step = (COLUMN_MM, ROW_MM)[kind.axis]
    # Linear interpolation is off by at most an eighth of step x step x the second derivative; the stored numbers by
    # half a SLOPE, and places by rounding.
    bound = step**2 / 8 * second_derivative((row, column)[kind.axis]) + SLOPE / 2 + 0.02
    inside = 0
    for k, dataset in enumerate(slices):
        away = places[:, :, k] - place(dataset, 0, 0)
        i, j = away @ row / COLUMN_MM, away @ column / ROW_MM
        within = (i > -1e-3) & (i < COLUMNS - 1 + 1e-3) & (j > -1e-3) & (j < ROWS - 1 + 1e-3)
        beyond = (i < -0.501) | (i > COLUMNS - 0.499) | (j < -0.501) | (j > ROWS - 0.499)
        error = np.abs(array[:, :, k] - waves(places[:, :, k]))
        assert error[within].max() <= bound
        np.testing.assert_array_equal(array[:, :, k][beyond], np.float32(outside))
        np.testing.assert_allclose(away @ np.cross(row, column), 0, atol=1e-4)  # the planes are the slices' own
        inside += within.sum()
    assert inside >= COUNT * (ROWS - 1) * (COLUMNS - 1), "voxels were lost"


@ALL
def test_the_upright_grid_is_upright_and_holds_every_acquired_voxel(kind, tmp_path):
    slices = in_order(kind.write(tmp_path))
    array, meta = read(tmp_path)
    row, column, normal = directions(slices[0])
    affine = meta["affine"]
    np.testing.assert_allclose(affine[:3, 0] * LPS_TO_RAS, row * COLUMN_MM, atol=1e-6)
    np.testing.assert_allclose(affine[:3, 1] * LPS_TO_RAS, column * ROW_MM, atol=1e-6)
    np.testing.assert_allclose(affine[:3, 2] * LPS_TO_RAS, -normal * STEP_MM, atol=1e-6)
    np.testing.assert_array_equal(meta["original_affine"], affine)
    assert tuple(meta["spatial_shape"]) == array.shape
    for k, dataset in enumerate(slices):
        corners = np.array([place(dataset, i, j) for i in (0, COLUMNS - 1) for j in (0, ROWS - 1)]) * LPS_TO_RAS
        voxels = (corners - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
        assert (voxels >= -1e-3).all()
        assert (voxels <= np.array(array.shape) - 1 + 1e-3).all()
        np.testing.assert_allclose(voxels[:, 2], k, atol=1e-4)
    drift = (COUNT - 1) * STEP_MM * abs(np.tan(np.radians(kind.degrees)))
    wide = np.array([COLUMNS, ROWS, COUNT])
    wide[kind.axis] += np.ceil(drift / (COLUMN_MM, ROW_MM)[kind.axis])
    assert array.shape == tuple(wide), "larger than it must be"


@ALL
def test_simpleitk_resamples_to_the_same_values(kind, tmp_path):
    slices = in_order(kind.write(tmp_path))
    array, meta = read(tmp_path)
    row, column, _ = directions(slices[0])
    way = (place(slices[-1], 0, 0) - place(slices[0], 0, 0)) / (COUNT - 1)
    acquired = SimpleITK.GetImageFromArray(np.stack([rescaled(dataset) for dataset in slices]).astype(np.float32))
    acquired.SetOrigin(place(slices[0], 0, 0).tolist())
    acquired.SetSpacing([COLUMN_MM, ROW_MM, float(np.linalg.norm(way))])
    acquired.SetDirection(np.stack([row, column, way / np.linalg.norm(way)], axis=1).ravel().tolist())
    spacing = np.linalg.norm(meta["affine"][:3, :3], axis=0)
    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize(list(array.shape))
    resample.SetOutputSpacing(spacing.tolist())
    resample.SetOutputOrigin((meta["affine"][:3, 3] * LPS_TO_RAS).tolist())
    resample.SetOutputDirection((np.diag(LPS_TO_RAS) @ meta["affine"][:3, :3] / spacing).ravel().tolist())
    resample.SetInterpolator(SimpleITK.sitkLinear)
    resample.SetDefaultPixelValue(float(array.min()))
    expected = SimpleITK.GetArrayFromImage(resample.Execute(acquired)).transpose(2, 1, 0)
    np.testing.assert_allclose(array, expected, atol=0.05)


@ALL
def test_a_ball_comes_back_to_the_tilted_slices(kind, tmp_path):
    center = middle(kind)
    slices = in_order(kind.write(tmp_path, ball(center)))
    array, meta = read(tmp_path)
    shear = Shear.from_text(meta["tilted_slices"])
    mask = shear.to_acquired(array >= LEVEL)
    places = np.stack([pixel_places(dataset).swapaxes(0, 1) for dataset in slices], axis=2)
    truth = np.linalg.norm(places - center, axis=-1) <= BALL_MM
    assert truth.sum() > 1000
    assert dice(mask, truth) > 0.97
    by_affine = voxel_places(shear.affine, mask.shape)
    np.testing.assert_allclose(by_affine, places, atol=1e-4)  # PS3.3 C.7.6.2.1.1
    assert np.linalg.norm(by_affine[mask].mean(axis=0) - center) < 0.3


@ALL
def test_each_acquired_voxel_takes_its_nearest_upright_voxel(kind, tmp_path):
    slices = in_order(kind.write(tmp_path))
    array, meta = read(tmp_path)
    shear = Shear.from_text(meta["tilted_slices"])
    numbers = np.indices(array.shape)
    found = np.stack([shear.to_acquired(one) for one in numbers], axis=-1)
    places = np.stack([pixel_places(dataset).swapaxes(0, 1) for dataset in slices], axis=2)
    exact = (places * LPS_TO_RAS - meta["affine"][:3, 3]) @ np.linalg.inv(meta["affine"][:3, :3]).T
    assert np.abs(found - exact).max() <= 0.5 + 1e-3
    np.testing.assert_allclose(found[..., 2], exact[..., 2], atol=1e-4)


def test_without_untilt_the_error_names_it(tmp_path):
    KINDS[0].write(tmp_path)
    series = choose(scan(tmp_path))
    assert series.frames is None
    assert series.tilted is not None
    assert series.spacing == pytest.approx((COLUMN_MM, ROW_MM, STEP_MM))
    cure = "got 10.0 degrees). Give --untilt to resample it to an upright grid, or a reconstruction without tilt"
    assert str(series.problem).endswith(cure)
    for read_it in (lambda: load(series), lambda: CaseReader().get_data((tmp_path,)), lambda: load(series, dtype=None)):
        with pytest.raises(InputError, match="Give --untilt"):
            read_it()


def test_files_and_sheared_affine_of_the_acquired_slices(tmp_path):
    slices = in_order(KINDS[1].write(tmp_path))
    series = choose(scan(tmp_path))
    positions = [list(pydicom.dcmread(path).ImagePositionPatient) for path in series.files]
    assert positions == [list(dataset.ImagePositionPatient) for dataset in slices]
    for k, i, j in itertools.product((0, COUNT - 1), (0, COLUMNS - 1), (0, ROWS - 1)):
        at = (series.tilted.ras_affine @ (i, j, k, 1))[:3]
        np.testing.assert_allclose(at, place(slices[k], i, j) * LPS_TO_RAS, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda slices: slices.pop(5), "1 missing slice"),
        (lambda slices: move(slices[5], (1, 0, 0)), "shifted within its plane"),
        (lambda slices: move(slices[5], (0, 0, 1)), "uneven slice positions|shifted within its plane"),
    ],
)
def test_what_is_wrong_besides_the_tilt_is_not_cured(change, cause, tmp_path):
    slices = KINDS[0].slices()
    change(slices)
    write(slices, tmp_path)
    series = choose(scan(tmp_path))
    assert series.tilted is None
    with pytest.raises(InputError, match=cause):
        load(series, untilt=True)


def test_more_than_a_gantry_tilts(tmp_path):
    write(Tilted(degrees=50, axis=1).slices(), tmp_path)
    with pytest.raises(InputError, match=r"expected at most 45 degrees, got 50\.0 degrees") as caught:
        load(choose(scan(tmp_path)), untilt=True)
    assert "--untilt" not in str(caught.value)


def test_a_doubled_slice_is_left_out(tmp_path):
    slices = KINDS[0].slices()
    write(slices, tmp_path / "once")
    write([*slices, other_instance(slices[4])], tmp_path / "again")
    once, again = (load(choose(scan(tmp_path / one)), untilt=True) for one in ("once", "again"))
    np.testing.assert_array_equal(once.array, again.array)


def test_untilt_leaves_an_upright_series_as_it_is(study):
    array, meta = read(study.folder)
    reader = DicomSeriesReader()
    plain, plain_meta = reader.get_data(reader.read(study.folder))
    np.testing.assert_array_equal(array, plain)
    assert meta.pop("tilted_slices") == ""
    assert meta.keys() == plain_meta.keys()
    np.testing.assert_array_equal(meta["affine"], plain_meta["affine"])


def test_slices_that_move_by_whole_pixels_keep_their_values(tmp_path):
    slices = stack(rows=ROWS, columns=COLUMNS, spacing=(1.5, 1.5), seed=4)
    for k, dataset in enumerate(slices):
        move(dataset, (0, -1.5 * k, 0))
    write(slices, tmp_path)
    volume = load(choose(scan(tmp_path)), untilt=True).array
    for k, dataset in enumerate(in_order(slices)):
        np.testing.assert_array_equal(volume[k, k : k + ROWS], dataset.pixel_array - 1024)
        assert (volume[k, :k] == -1024).all()
        assert (volume[k, k + ROWS :] == -1024).all()
    assert volume.shape == (len(slices), ROWS + len(slices) - 1, COLUMNS)


def test_interpolated_values_are_no_integers(tmp_path):
    KINDS[0].write(tmp_path)
    series = choose(scan(tmp_path))
    assert load(series, dtype=None, untilt=True).dtype == np.float32
    assert load(series, dtype=np.float64, untilt=True).dtype == np.float64
    with pytest.raises(InputError, match="interpolated values do not fit into int16"):
        load(series, dtype=np.int16, untilt=True)


def test_the_way_back_survives_the_loader(tmp_path):
    KINDS[0].write(tmp_path)
    loader = LoadImaged("image", reader=CaseReader(untilt=True), ensure_channel_first=True)
    case = {"image": str(tmp_path)}
    image = decollate_batch(next(iter(DataLoader(Dataset([case], loader), batch_size=1))))[0]["image"]
    assert image.shape[1:] == loader(case)["image"].shape[1:]
    expected = choose(scan(tmp_path)).tilted.ras_affine
    np.testing.assert_array_equal(Shear.from_text(image.meta["tilted_slices"]).affine, expected)
