"""Writes the golden tensors that tests/golden/main.rs reads: what PyTorch computes, in float64, on the CPU.

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2, numpy 2.4.6, safetensors 0.8.0:

    pip install torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 safetensors==0.8.0
    python tests/golden/generate.py

One file per operation; a tensor is named case/tensor. Inputs are stored as float32, which holds them exactly, so that a
GPU test can start from the same numbers; what PyTorch made of them is float64. A window is
[[kernel_size], [stride], [padding], [dilation]], each height then width.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as T
from safetensors.torch import save_file

HERE = Path(__file__).parent
MADE_WITH = f"torch {torch.__version__.split('+')[0]}, numpy {np.__version__}, CPU, float64"

# One thread: the order of every sum, and so every bit, is the same on each run.
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


class Golden:
    """The tensors of one file, and the seeded numbers its inputs are drawn from."""

    def __init__(self, name, seed):
        self.name = name
        self.random = np.random.default_rng(seed)
        self.tensors = {}

    def normal(self, *shape):
        """Standard normal numbers, representable in float32."""
        numbers = self.random.standard_normal(shape).astype(np.float32)
        return torch.from_numpy(numbers).double()

    def add(self, case, inputs, outputs):
        for name, tensor in inputs.items():
            tensor = tensor.detach()
            stored = tensor.float() if tensor.dtype == torch.float64 else tensor
            restored = stored.to(tensor.dtype)
            assert torch.equal(restored.nan_to_num(), tensor.nan_to_num()), f"{case}/{name} is not exact in float32"
            self.tensors[f"{case}/{name}"] = stored.contiguous()
        for name, tensor in outputs.items():
            self.tensors[f"{case}/{name}"] = tensor.detach().contiguous()

    def save(self):
        save_file(self.tensors, HERE / f"{self.name}.safetensors", metadata={"made_with": MADE_WITH})


def window(kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    return torch.tensor([kernel_size, stride, padding, dilation], dtype=torch.int32)


def gradients(output, grad_output, *inputs):
    return torch.autograd.grad(output, inputs, grad_output)


def conv2d():
    golden = Golden("conv2d", 1)
    cases = {
        "plain_5x5": ((2, 3, 12, 12), 6, (5, 5), (1, 1), (0, 0), (1, 1)),
        "one_by_one": ((3, 5, 7, 6), 4, (1, 1), (1, 1), (0, 0), (1, 1)),
        "strided": ((2, 3, 11, 13), 4, (3, 3), (2, 2), (0, 0), (1, 1)),
        "stride_larger_than_kernel": ((1, 2, 11, 12), 3, (2, 2), (3, 4), (0, 0), (1, 1)),
        "padded": ((2, 2, 5, 7), 3, (3, 3), (1, 1), (2, 2), (1, 1)),
        "dilated": ((1, 2, 13, 11), 3, (3, 3), (1, 1), (0, 0), (2, 2)),
        "non_square": ((2, 3, 9, 14), 2, (2, 5), (3, 1), (1, 4), (1, 1)),
        "combined": ((3, 5, 11, 10), 7, (3, 2), (2, 3), (2, 1), (2, 3)),
    }
    for case, (shape, out_channels, kernel_size, stride, padding, dilation) in cases.items():
        input = golden.normal(*shape).requires_grad_()
        weight = golden.normal(out_channels, shape[1], *kernel_size).requires_grad_()
        bias = golden.normal(out_channels).requires_grad_()
        output = F.conv2d(input, weight, bias, stride, padding, dilation)
        grad_output = golden.normal(*output.shape)
        grad_input, grad_weight, grad_bias = gradients(output, grad_output, input, weight, bias)
        golden.add(
            case,
            {
                "window": window(kernel_size, stride, padding, dilation),
                "input": input,
                "weight": weight,
                "bias": bias,
                "grad_output": grad_output,
            },
            {"output": output, "grad_input": grad_input, "grad_weight": grad_weight, "grad_bias": grad_bias},
        )
    golden.save()


def max_pool2d():
    golden = Golden("max_pool2d", 2)
    nan = float("nan")
    infinity = float("inf")
    cases = {
        "plain": (golden.normal(2, 3, 8, 10), (2, 2), (2, 2), (0, 0), (1, 1)),
        "rows_left_over": (golden.normal(1, 2, 7, 5), (2, 2), (2, 2), (0, 0), (1, 1)),
        "overlapping": (golden.normal(2, 2, 9, 7), (3, 3), (2, 2), (0, 0), (1, 1)),
        "padded": (golden.normal(1, 2, 7, 8) - 4, (3, 3), (2, 2), (1, 1), (1, 1)),
        "dilated": (golden.normal(1, 2, 11, 9), (3, 2), (1, 2), (0, 0), (2, 3)),
        "combined": (golden.normal(2, 1, 12, 11), (4, 3), (3, 1), (2, 1), (2, 3)),
        "ties": (
            torch.from_numpy(golden.random.integers(0, 3, (2, 2, 8, 8)).astype(np.float64)),
            (3, 3),
            (1, 1),
            (1, 1),
            (1, 1),
        ),
        "not_finite": (
            torch.tensor(
                [
                    [1, nan, 9, 2, 4],
                    [3, 0, nan, -infinity, -infinity],
                    [infinity, 7, 8, -infinity, -infinity],
                ]
            )
            .double()
            .reshape(1, 1, 3, 5),
            (2, 2),
            (1, 1),
            (0, 0),
            (1, 1),
        ),
    }
    for case, (input, kernel_size, stride, padding, dilation) in cases.items():
        # A difference of float32 numbers need not be one.
        input = input.float().double().requires_grad_()
        output, argmax = F.max_pool2d(input, kernel_size, stride, padding, dilation, return_indices=True)
        grad_output = golden.normal(*output.shape)
        (grad_input,) = gradients(output, grad_output, input)
        golden.add(
            case,
            {
                "window": window(kernel_size, stride, padding, dilation),
                "input": input,
                "grad_output": grad_output,
            },
            {"output": output, "argmax": argmax.int(), "grad_input": grad_input},
        )
    golden.save()


def avg_pool2d():
    golden = Golden("avg_pool2d", 3)
    cases = {
        "plain": ((2, 3, 8, 10), (2, 2), (2, 2), (0, 0)),
        "rows_left_over": ((1, 2, 7, 5), (2, 2), (2, 2), (0, 0)),
        "overlapping": ((2, 2, 9, 7), (3, 3), (2, 2), (0, 0)),
        "padded": ((1, 2, 7, 8), (3, 3), (2, 2), (1, 1)),
        "non_square": ((2, 1, 11, 9), (5, 2), (2, 3), (2, 1)),
    }
    for case, (shape, kernel_size, stride, padding) in cases.items():
        input = golden.normal(*shape).requires_grad_()
        output = F.avg_pool2d(input, kernel_size, stride, padding)
        grad_output = golden.normal(*output.shape)
        (grad_input,) = gradients(output, grad_output, input)
        golden.add(
            case,
            {"window": window(kernel_size, stride, padding), "input": input, "grad_output": grad_output},
            {"output": output, "grad_input": grad_input},
        )
    golden.save()


def global_avg_pool2d():
    golden = Golden("global_avg_pool2d", 4)
    for case, shape in {"one_pixel": (2, 3, 1, 1), "primes": (3, 5, 7, 11)}.items():
        input = golden.normal(*shape).requires_grad_()
        output = F.adaptive_avg_pool2d(input, 1)
        grad_output = golden.normal(*output.shape)
        (grad_input,) = gradients(output, grad_output, input)
        golden.add(
            case, {"input": input, "grad_output": grad_output}, {"output": output, "grad_input": grad_input}
        )
    golden.save()


def linear():
    golden = Golden("linear", 5)
    for case, (batch, inputs, outputs) in {"one": (1, 1, 1), "primes": (5, 37, 13), "batch_4": (4, 84, 10)}.items():
        input = golden.normal(batch, inputs).requires_grad_()
        weight = golden.normal(outputs, inputs).requires_grad_()
        bias = golden.normal(outputs).requires_grad_()
        output = F.linear(input, weight, bias)
        grad_output = golden.normal(*output.shape)
        grad_input, grad_weight, grad_bias = gradients(output, grad_output, input, weight, bias)
        golden.add(
            case,
            {"input": input, "weight": weight, "bias": bias, "grad_output": grad_output},
            {"output": output, "grad_input": grad_input, "grad_weight": grad_weight, "grad_bias": grad_bias},
        )
    golden.save()


def matmul():
    golden = Golden("matmul", 6)
    for transpose_a in (0, 1):
        for transpose_b in (0, 1):
            a = golden.normal(*((19, 7) if transpose_a else (7, 19)))
            b = golden.normal(*((11, 19) if transpose_b else (19, 11)))
            output = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
            golden.add(f"transpose_{transpose_a}{transpose_b}", {"a": a, "b": b}, {"output": output})
    golden.save()


def relu():
    golden = Golden("relu", 7)
    input = golden.normal(97)
    input[::10] = 0.0
    input[5::20] = -0.0
    input = input.requires_grad_()
    output = F.relu(input)
    grad_output = golden.normal(97)
    (grad_input,) = gradients(output, grad_output, input)
    golden.add(
        "zeros_among", {"input": input, "grad_output": grad_output}, {"output": output, "grad_input": grad_input}
    )
    golden.save()


def dropout():
    golden = Golden("dropout", 11)
    torch.manual_seed(11)
    for case, p in {"half": 0.5, "a_tenth": 0.1, "none": 0.0, "nearly_all": 0.96875}.items():
        input = golden.normal(97).requires_grad_()
        output, mask = torch.ops.aten.native_dropout(input, p, True)
        grad_output = golden.normal(97)
        (grad_input,) = gradients(output, grad_output, input)
        golden.add(
            case,
            {"input": input, "grad_output": grad_output, "mask": mask.int()},
            # p in float64, as PyTorch had it.
            {"p": torch.tensor([p], dtype=torch.float64), "output": output, "grad_input": grad_input},
        )
    golden.save()


def augment():
    """Given what was drawn: contrast and brightness, which is one of ColorJitter's orders; then crop, flip, cutout."""
    golden = Golden("augment", 12)
    # shape; flip; padding, the window's row and column; side of the square, its centre; contrast, brightness
    cases = {
        "as_it_is": ((3, 5, 7), 0, (0, 0, 0), (0, 0, 0), (1.0, 1.0)),
        "flipped": ((3, 5, 7), 1, (0, 0, 0), (0, 0, 0), (1.0, 1.0)),
        "shifted": ((1, 6, 5), 0, (2, 4, 1), (0, 0, 0), (1.0, 1.0)),
        "cut_at_an_edge": ((3, 6, 6), 0, (0, 0, 0), (3, 5, 0), (1.0, 1.0)),
        "pale": ((3, 4, 5), 0, (0, 0, 0), (0, 0, 0), (0.25, 1.25)),
        "stark": ((3, 4, 5), 0, (0, 0, 0), (0, 0, 0), (1.875, 0.625)),
        "grey": ((1, 4, 5), 0, (0, 0, 0), (0, 0, 0), (1.375, 1.5)),
        "everything": ((3, 9, 8), 1, (3, 0, 5), (4, 4, 2), (1.3125, 0.8125)),
    }
    mean, deviation = 0.46875, 0.25
    for case, (shape, flip, (crop, top, left), (cutout, y, x), (contrast, brightness)) in cases.items():
        channels, height, width = shape
        levels = torch.from_numpy(golden.random.integers(0, 256, shape))
        image = levels.double() / 255.0
        # As adjust_contrast weighs it.
        grey = 0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2] if channels == 3 else image[0]
        result = T.adjust_brightness(T.adjust_contrast(image, contrast), brightness)
        result = T.crop(T.pad(result, crop), top, left, height, width)
        result = T.horizontal_flip(result) if flip else result
        result = T.normalize(result, [mean] * channels, [deviation] * channels)
        rows = slice(max(y - cutout // 2, 0), max(y - cutout // 2 + cutout, 0))
        columns = slice(max(x - cutout // 2, 0), max(x - cutout // 2 + cutout, 0))
        result[:, rows, columns] = 0.0
        golden.add(
            case,
            {"levels": levels.int(), "draw": torch.tensor([flip, crop, top, left, cutout, y, x], dtype=torch.int32)},
            {
                "factors": torch.tensor([contrast, brightness, mean, deviation], dtype=torch.float64),
                "grey": 255 * grey.mean().reshape(1),
                "input": result,
            },
        )
    golden.save()


def softmax_cross_entropy():
    golden = Golden("softmax_cross_entropy", 8)
    huge = golden.normal(6, 10)
    huge[0, 3], huge[1, 7], huge[2, 0] = 1e4, -1e4, 1e4
    huge[3, :] = 1e4
    huge[4, ::2], huge[4, 1::2] = 1e4, -1e4
    cases = {
        "plain": (golden.normal(4, 10), 0.0),
        "primes": (3 * golden.normal(13, 7), 0.0),
        "smoothed": (golden.normal(5, 10), 0.1),
        "huge": (huge, 0.0),
        "huge_smoothed": (huge, 0.1),
    }
    for case, (logits, label_smoothing) in cases.items():
        logits = logits.float().double().requires_grad_()
        rows, classes = logits.shape
        labels = torch.from_numpy(golden.random.integers(0, classes, rows))
        row_loss = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
        loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        (grad_logits,) = torch.autograd.grad(loss, logits)
        golden.add(
            case,
            {"logits": logits, "labels": labels.int()},
            {
                # float64, as PyTorch had it.
                "label_smoothing": torch.tensor([label_smoothing], dtype=torch.float64),
                "row_loss": row_loss,
                "loss": loss.reshape(1),
                "grad_logits": grad_logits,
            },
        )
    golden.save()


def sgd():
    golden = Golden("sgd", 9)
    cases = {
        "plain": (0.1, 0.0, 0.0, False),
        "momentum": (0.01, 0.9, 5e-4, False),
        "nesterov": (0.01, 0.9, 5e-4, True),
    }
    for case, (learning_rate, momentum, weight_decay, nesterov) in cases.items():
        initial = golden.normal(31)
        gradients = golden.normal(3, 31)
        parameters = initial.clone().requires_grad_()
        optimizer = torch.optim.SGD(
            [parameters], lr=learning_rate, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )
        after = []
        for gradient in gradients:
            parameters.grad = gradient.clone()
            optimizer.step()
            after.append(parameters.detach().clone())
        golden.add(
            case,
            {"parameters": initial, "gradients": gradients},
            {
                # learning_rate, momentum, weight_decay, nesterov; float64, as PyTorch had them.
                "settings": torch.tensor([learning_rate, momentum, weight_decay, nesterov], dtype=torch.float64),
                "after": torch.stack(after),
            },
        )
    golden.save()


def schedules():
    """The learning rate of each of the 35 steps of five epochs of seven batches, from a peak of 0.1."""
    golden = Golden("schedules", 11)
    batches, epochs = 7, 5
    steps = batches * epochs
    lr = torch.optim.lr_scheduler

    def warm_up(optimizer, length):
        return lr.LinearLR(optimizer, 1 / length, total_iters=length - 1)

    def one_cycle(rising):
        return lambda optimizer: lr.OneCycleLR(
            optimizer, 0.1, total_steps=steps, pct_start=rising, cycle_momentum=False
        )

    cases = {
        "step:2,0.1": lambda optimizer: lr.StepLR(optimizer, 2 * batches, 0.1),
        "step:1,0.7 warmup 1": lambda optimizer: lr.ChainedScheduler(
            [warm_up(optimizer, batches), lr.StepLR(optimizer, batches, 0.7)]
        ),
        "constant warmup 0.43": lambda optimizer: warm_up(optimizer, 3),
        "cosine": lambda optimizer: lr.CosineAnnealingLR(optimizer, steps),
        "cosine warmup 2": lambda optimizer: lr.SequentialLR(
            optimizer,
            [warm_up(optimizer, 2 * batches), lr.CosineAnnealingLR(optimizer, steps - 2 * batches)],
            [2 * batches],
        ),
        "one-cycle:0.3": one_cycle(0.3),
        "one-cycle:0": one_cycle(0.0),
        "one-cycle:1": one_cycle(1.0),
    }
    for case, make in cases.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
        scheduler = make(optimizer)
        rates = [optimizer.param_groups[0]["lr"]]
        for _ in range(steps - 1):
            optimizer.step()
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
        golden.add(case, {}, {"rates": torch.tensor(rates, dtype=torch.float64)})
    golden.save()


class Tutorial(torch.nn.Module):
    """The network of PyTorch's "Training a classifier" tutorial."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 6, 5)
        self.conv2 = torch.nn.Conv2d(6, 16, 5)
        self.fc1 = torch.nn.Linear(16 * 5 * 5, 120)
        self.fc2 = torch.nn.Linear(120, 84)
        self.fc3 = torch.nn.Linear(84, 10)

    def forward(self, input):
        x = F.max_pool2d(F.relu(self.conv1(input)), 2, 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2, 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def ten_steps():
    """Ten steps of training: pixels (step, n, c, h, w) as u8, labels (step, n), the initial weights under their own names
    in float32, the loss of each step (losses) and the weights after the last one (final.…) in float64."""
    golden = Golden("ten_steps", 10)
    torch.manual_seed(10)
    network = Tutorial()
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.double()
    pixels = torch.from_numpy(golden.random.integers(0, 256, (10, 4, 3, 32, 32), dtype=np.uint8))
    labels = torch.from_numpy(golden.random.integers(0, 10, (10, 4)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    losses = []
    for images, targets in zip(pixels, labels):
        optimizer.zero_grad()
        # ToTensor and Normalize(0.5, 0.5), in float64.
        loss = F.cross_entropy(network((images.double() / 255 - 0.5) / 0.5), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    tensors |= {"pixels": pixels, "labels": labels.int(), "losses": torch.tensor(losses, dtype=torch.float64)}
    tensors |= {f"final.{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    golden.tensors = tensors
    golden.save()


if __name__ == "__main__":
    for write in (
        conv2d,
        max_pool2d,
        avg_pool2d,
        global_avg_pool2d,
        linear,
        matmul,
        relu,
        dropout,
        augment,
        softmax_cross_entropy,
        sgd,
        schedules,
        ten_steps,
    ):
        write()
