# coding: utf-8
"""What PyTorch scripts of the guide's time take for granted (contracts/engines.md 3.2)."""
import os

from modelport_worker.compat import patches


def install(package_dir):
    # Whole pickled modules, as torch.load read them before it asked for weights only. The package's code is trusted with
    # everything else as well.
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    patches.on_import("torchvision.transforms", _transforms)


def _transforms(transforms):
    for name, now in (("Scale", "Resize"), ("RandomSizedCrop", "RandomResizedCrop")):
        if not hasattr(transforms, name) and hasattr(transforms, now):
            setattr(transforms, name, getattr(transforms, now))
