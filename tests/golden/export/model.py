"""The network every_layer, exported by shadegrad. Its weights are in model.safetensors beside this file.

    pip install torch safetensors pillow
    python model.py IMAGE…

From Python:

    import model
    network = model.load()
    for name, probability in model.predict(network, "picture.jpg")[:3]:
        print(name, probability)
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

CHANNELS, HEIGHT, WIDTH = 3, 18, 19

CLASSES = [
    "a",
    "b \"quoted\"",
    "ç",
    "d",
]


class Network(nn.Module):
    """Images (n, CHANNELS, HEIGHT, WIDTH) from `preprocess` in, logits (n, len(CLASSES)) out."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, kernel_size=(3, 5), stride=(1, 2), padding=(1, 2))
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(kernel_size=3, stride=(2, 1), padding=1, dilation=(1, 2))
        self.conv2 = nn.Conv2d(6, 8, kernel_size=3, padding=(2, 0), dilation=(2, 1))
        self.pool2 = nn.AvgPool2d(kernel_size=(3, 2), stride=2, padding=(1, 0))
        self.conv3 = nn.Conv2d(8, 5, kernel_size=1)
        self.pool3 = nn.AdaptiveAvgPool2d(1)
        self.flatten1 = nn.Flatten()
        self.fc1 = nn.Linear(5, 7)
        self.relu2 = nn.ReLU()
        self.fc2 = nn.Linear(7, 4)

    def forward(self, x):
        x = self.conv1(x)  # (6, 18, 10)
        x = self.relu1(x)  # (6, 18, 10)
        x = self.pool1(x)  # (6, 9, 8)
        x = self.conv2(x)  # (8, 9, 6)
        x = self.pool2(x)  # (8, 5, 3)
        x = self.conv3(x)  # (5, 5, 3)
        x = self.pool3(x)  # (5, 1, 1)
        x = self.flatten1(x)  # (5)
        x = self.fc1(x)  # (7)
        x = self.relu2(x)  # (7)
        x = self.fc2(x)  # (4)
        return x


def load(path=Path(__file__).with_name("model.safetensors")):
    """The trained network, ready to predict."""
    network = Network()
    network.load_state_dict(load_file(path))
    return network.eval()


def preprocess(pixels):
    """Pixels from 0 to 255, (n, CHANNELS, HEIGHT, WIDTH), as the network was trained on them."""
    return (pixels.float() / 255 - 0.5) / 0.5


def read(path):
    """The pixels (CHANNELS, HEIGHT, WIDTH) of a picture of any size, cropped around its centre and scaled."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    width = max(1, min(image.width, (2 * image.height * WIDTH + HEIGHT) // (2 * HEIGHT)))
    height = max(1, min(image.height, (2 * image.width * HEIGHT + WIDTH) // (2 * WIDTH)))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    if CHANNELS == 1:
        image = image.convert("L", (0.2126, 0.7152, 0.0722, 0))
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.reshape(HEIGHT, WIDTH, CHANNELS).permute(2, 0, 1)


def predict(network, path):
    """Classes and their probabilities for a picture, the most probable first."""
    with torch.no_grad():
        probabilities = network(preprocess(read(path)[None])).softmax(1)[0].tolist()
    return sorted(zip(CLASSES, probabilities), key=lambda entry: -entry[1])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python model.py IMAGE…")
    network = load()
    for path in sys.argv[1:]:
        best = predict(network, path)[:3]
        print(path, "  ".join(f"{name} {probability:.1%}" for name, probability in best), sep="  ")
