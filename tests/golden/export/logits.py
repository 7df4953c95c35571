"""What PyTorch makes of a model that `shadegrad export` wrote: python logits.py FOLDER

Imports FOLDER/model.py, lets its network look at eight images of seeded noise, and writes FOLDER/logits.safetensors with the pixels
(n, c, h, w) as u8 and the logits (n, classes) as float32. tests/export.rs reads the file, and runs this script itself where PyTorch is
installed.
"""

import importlib.util
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

folder = Path(sys.argv[1])
specification = importlib.util.spec_from_file_location("model", folder / "model.py")
model = importlib.util.module_from_spec(specification)
specification.loader.exec_module(model)

torch.set_num_threads(1)
torch.manual_seed(11)
pixels = torch.randint(0, 256, (8, model.CHANNELS, model.HEIGHT, model.WIDTH), dtype=torch.uint8)
with torch.no_grad():
    logits = model.load()(model.preprocess(pixels))
made_with = f"torch {torch.__version__.split('+')[0]}, CPU, float32"
save_file({"pixels": pixels, "logits": logits}, folder / "logits.safetensors", metadata={"made_with": made_with})
