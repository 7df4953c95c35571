"""PyTorch, eager: `pytorch.py cpu|cuda train FILE.safetensors EVERY` or `pytorch.py cpu|cuda matmul SIZE EVERY`.

As the peers in Rust: step after step until it is stopped, and a line every so many steps."""

import itertools
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class Network(nn.Module):
    def __init__(self, parameters):
        super().__init__()
        for name in ("conv1", "conv2"):
            channels, inputs, *kernel = parameters[f"{name}.weight"].shape
            setattr(self, name, nn.Conv2d(inputs, channels, kernel))
        for name in ("fc1", "fc2", "fc3"):
            outputs, inputs = parameters[f"{name}.weight"].shape
            setattr(self, name, nn.Linear(inputs, outputs))
        self.load_state_dict(parameters)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(F.relu(self.fc2(x)))


def train(file, every, device):
    tensors = load_file(file)
    images, labels = tensors.pop("images").to(device), tensors.pop("labels").to(device)
    network = Network(tensors).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)

    def step(at):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images[at % len(images)]), labels[at % len(images)])
        loss.backward()
        optimizer.step()
        return loss

    repeat(every, step, lambda loss: loss.item())


def matmul(size, every, device):
    """As `factors` in common/src/lib.rs: a reflection, which undoes itself, times anything."""
    generator = torch.Generator().manual_seed(1)
    signs = torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1
    a = (torch.eye(size) - 2 / size * torch.outer(signs, signs)).to(device)
    b = (torch.rand(size, size, generator=generator) * 2 - 1).to(device)
    expected = b[0, 0].item()

    def step(_):
        nonlocal b
        b = a @ b
        return b

    repeat(every, step, lambda product: abs(product[0, 0].item() - expected))


def repeat(every, step, read):
    for done in itertools.count(1):
        value = step(done - 1)
        if done % every == 0:
            print(f"[1, {done}] loss: {read(value):.9g}", flush=True)


if __name__ == "__main__":
    device, task, what, every = sys.argv[1:]
    # f32 means f32 here, as for everybody else: cuDNN's convolutions would use TF32 by default.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"device: {where}", flush=True)
    if task == "train":
        train(what, int(every), device)
    else:
        matmul(int(what), int(every), device)
