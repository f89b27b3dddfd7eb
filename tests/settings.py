"""The project's settings with a data folder of the run's own. It goes away with the run."""

import atexit
import os
import shutil
import sys
import tempfile

folder = tempfile.mkdtemp(prefix="mlx-gui-test-")
atexit.register(shutil.rmtree, folder, ignore_errors=True)
for name in [name for name in os.environ if name.startswith("MLX_GUI_")]:
    del os.environ[name]
# Hundreds of children would compile every module anew, and so would the next run of the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # matrices of tests are small, and the cores are busy
os.environ["MLX_GUI_HOME"] = folder
os.environ["HF_HUB_CACHE"] = os.path.join(folder, "hub")

from mlxgui.settings import *  # noqa: E402, F403  the data folder must be named before

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_ROOT.mkdir()  # noqa: F405  WhiteNoise warns where there is none
