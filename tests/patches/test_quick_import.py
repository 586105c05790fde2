"""MONAI imported with stand-ins does what it does without."""

import subprocess
import sys

import numpy as np
import SimpleITK


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


QUICK = "import sys; from pipeline.patches.quick_import import import_monai; import_monai(); "


def test_what_no_mask_needs_is_not_imported():
    code = QUICK + (
        "print([n for n in ('scipy.signal', 'scipy.stats', 'skimage', 'sklearn', 'matplotlib', 'itk',"
        " 'torch.distributed.fsdp') if n in sys.modules])"
    )
    assert python(code) == "[]"


def test_a_stand_in_becomes_the_function_when_it_is_called():
    code = QUICK + (
        "import numpy as np, scipy.ndimage, scipy.signal\n"
        "from monai.data.ultrasound_confidence_map import hilbert\n"
        "from monai.transforms.utils import measure, distance_transform_edt\n"
        "x = np.random.default_rng(0).normal(size=64)\n"
        "assert np.array_equal(hilbert(x), scipy.signal.hilbert(x))\n"
        "assert np.array_equal(measure.label(x > 0), scipy.ndimage.label(x > 0)[0])\n"
        "from monai.utils.jupyter_utils import plt\n"
        "import matplotlib.pyplot\n"
        "assert plt.figure is matplotlib.pyplot.figure\n"
        "print(scipy.signal.__file__.endswith('__init__.py'))"
    )
    assert python(code) == "True"


def test_transforms_find_the_largest_component():
    # MONAI takes scikit-image for it; three voxels against one.
    code = QUICK + (
        "import torch; from monai.transforms import KeepLargestConnectedComponent as K\n"
        "print(K()(torch.tensor([[[1, 1, 1, 0, 1]]])).long().tolist())"
    )
    assert python(code) == "[[[1, 1, 1, 0, 0]]]"


def test_a_network_behind_a_stand_in_is_made():
    code = QUICK + (
        "from monai.bundle import ConfigParser\n"
        "made = ConfigParser({'n': {'_target_': 'monai.networks.nets.TopologyInstance', 'num_blocks': 2,"
        " 'num_depths': 2}}).get_parsed_content('n')\n"
        "from monai.networks.nets.dints import TopologyInstance\n"
        "print(type(made) is TopologyInstance)"
    )
    assert python(code).splitlines()[-1] == "True"


def test_itk_is_imported_for_the_first_file_that_needs_it(tmp_path):
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), tmp_path / "a.mha")
    code = QUICK + (
        "from monai.transforms import LoadImage\n"
        "by_suffix = LoadImage()\n"
        "print('itk' in sys.modules)\n"
        "by_name = LoadImage(reader='ITKReader', reverse_indexing=True)\n"
        f"first, second = (one({str(tmp_path / 'a.mha')!r}) for one in (by_suffix, by_name))\n"
        "print('itk' in sys.modules, first.shape, second.shape, float(first[1, 2, 1]), float(second[1, 2, 1]))"
    )
    expected = ["True", "(4, 3, 2)", "(2, 3, 4)", str(voxels[1, 2, 1]), str(voxels[1, 2, 1])]
    found = python(code).replace("torch.Size([", "(").replace("])", ")").splitlines()
    assert found[0] == "False"
    assert found[1] == " ".join(expected)


def test_a_loader_can_be_sent_to_another_process(tmp_path):
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), tmp_path / "a.mha")
    code = QUICK + (
        "import pickle; from monai.transforms import LoadImage; open('sent', 'wb').write(pickle.dumps(LoadImage()))"
    ).replace("'sent'", repr(str(tmp_path / "sent")))
    assert python(code) == ""
    code = (
        "import pickle, sys\n"
        f"load = pickle.loads(open({str(tmp_path / 'sent')!r}, 'rb').read())\n"
        f"print(float(load({str(tmp_path / 'a.mha')!r})[1, 2, 1]), 'pipeline.patches.quick_import' in sys.modules)"
    )
    assert python(code).splitlines()[-1] == f"{voxels[1, 2, 1]} False"


def test_ignite_knows_a_zero_redundancy_optimizer():
    code = QUICK + (
        "from ignite.handlers.checkpoint import ZeroRedundancyOptimizer as stand_in\n"
        "print(isinstance(object(), stand_in))\n"
        "from torch.distributed.optim import ZeroRedundancyOptimizer as real\n"
        "print(isinstance(real.__new__(real), stand_in), issubclass(real, torch.optim.Optimizer))"
    ).replace("from ignite", "import torch\nfrom ignite")
    assert python(code).split() == ["False", "True", "True"]


def test_a_library_that_is_not_installed_gets_no_stand_in():
    code = (
        "import sys; from pipeline.patches import quick_import as q; q._LATER += ('no_such_library', 'html')\n"
        "with q._stand_ins(): print([name in sys.modules for name in ('no_such_library', 'html')])"
    )
    assert python(code) == "[False, True]"
