"""What the measurements say: medians, whether the losses agree, and the tables. Nothing in here measures or prints."""

from statistics import median

# Two losses of one step agree when they differ by less, relative where they are above 1. Every value is f32, and everybody adds up in an
# order of his own: sums of up to 2,500 products in the forward pass are about √2500·2⁻²⁴ = 3e-6 of their terms apart; what the longer
# sums of the gradients are apart comes to far less in twenty steps of lr/(1 − momentum) = 0.01. Measured: 2e-7, the last bit of a loss.
# What is wrong is larger: a quarter of the gradient behind a pooling layer, for one, was 3e-6 at step 4 and 3e-5 at step 18.
TOLERANCE = 3e-6

# Whose losses are compared, and batches that the peers go through again and again.
STEPS = 20

ABOUT = f"""A step is forward, backward and SGD with momentum. Medians of rounds in turn, the others paused; a loss is waited for some four times a
second. shadegrad picks every batch out of the whole data set and normalises it; the others' are tensors made before. The first step: from
the start of the process to its loss, cold without any cache but the disk's, warm with those of the run before. For it and in memory
shadegrad has the whole data set, the others {STEPS} batches. Losses: the largest difference from shadegrad's in {STEPS} steps."""


def timed(lines):
    """Steps and seconds between the first line and the last, without what lies across the end of an epoch: shadegrad evaluates and
    saves there, the others do not."""
    pairs = [(a, b) for a, b in zip(lines, lines[1:]) if a.epoch == b.epoch]
    return sum(b.step - a.step for a, b in pairs), sum(b.time - a.time for a, b in pairs)


def lines_every(steps_per_second, most=None):
    """How many steps to a line, so that one comes about every quarter of a second, for which the loss is waited for; an even number,
    after which the reflection of `matmul` has undone itself, unless a step takes longer than that."""
    every = round(steps_per_second / 4)
    every = min(every, most) if most else every
    return max(2 * (every // 2), 1)


def difference(expected, losses):
    """The largest, relative where losses are above 1, and the step it is of, counted from 1."""
    pairs = zip(expected, losses, strict=True)
    return max((abs(a - b) / max(1, abs(a)), step) for step, (a, b) in enumerate(pairs, 1))


def merge(old, new):
    """A dictionary of dictionaries, what is in `new` winning."""
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(old.get(key), dict)
        merged[key] = merge(old[key], value) if both else value
    return merged


def number(value, digits=3):
    """To so many significant digits, without an exponent."""
    if value is None:
        return "–"
    if value >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{float(f'{value:.{digits}g}'):,}".removesuffix(".0")


def seconds(value):
    return "–" if value is None else f"{number(value, 2)} s"


def mebibytes(value):
    return "–" if value is None else f"{value / 2**20:,.0f} MiB"


def ratio(ours, theirs):
    """How many times as fast we are."""
    return "–" if None in (ours, theirs) else f"×{number(ours / theirs, 2)}"


def table(rows):
    """Rows of text as Markdown, the first of them the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
    heading, *others = map(line, rows)
    return "\n".join([heading, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *others])


def middle(contestant, key):
    rounds = contestant.get(key)
    return median(rounds) if rounds else None


def training_table(title, contestants):
    """`title` is the network and the batch; `contestants` what `measure` found of each, by name."""
    batch = int(title.split()[-1])
    ours = middle(contestants.get("shadegrad", {}), "steps_per_second")
    rows = [[title, "steps/s", "images/s", "shadegrad is", "first step, cold", "warm", "peak memory", "losses within"]]
    for name, contestant in contestants.items():
        speed = middle(contestant, "steps_per_second")
        within = contestant.get("loss_difference")
        rows.append([
            name,
            number(speed),
            number(speed and speed * batch),
            "" if name == "shadegrad" else ratio(ours, speed),
            seconds(contestant.get("first_step_cold")),
            seconds(contestant.get("first_step_warm")),
            mebibytes(contestant.get("peak_memory")),
            "–" if within is None else f"{within:.0e}",
        ])
    return table(rows)


def matmul_table(sizes):
    """GFLOP/s, a column a size."""
    names = dict.fromkeys(name for contestants in sizes.values() for name in contestants)
    speed = lambda size, name: middle(sizes[size].get(name, {}), "gflops")

    def cell(size, name):
        theirs = speed(size, name)
        return number(theirs) if name == "shadegrad" else f"{number(theirs)} ({ratio(speed(size, 'shadegrad'), theirs)})"

    rows = [["matmul f32, GFLOP/s (shadegrad is)", *(f"{size}³" for size in sizes)]]
    return table(rows + [[name, *(cell(size, name) for size in sizes)] for name in names])


def build_table(contestants):
    ours = contestants.get("shadegrad", {}).get("build_cpu_seconds")
    rows = [["clean release build", "CPU time", "theirs to ours", "wall clock", "binary"]]
    for name, contestant in contestants.items():
        cpu = contestant["build_cpu_seconds"]
        share = f"×{number(cpu / ours, 2)}" if ours else "–"
        binary = f"{contestant['binary_bytes'] / 1e6:.1f} MB"
        rows.append([name, f"{cpu:,.0f} s", share, f"{contestant['build_seconds']:,.0f} s", binary])
    return table(rows)


def report(results):
    about = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    devices = {
        name: contestant["device"]
        for contestants in results.get("training", {}).values()
        for name, contestant in contestants.items()
        if contestant.get("device")
    }
    parts = [f"{about['processor']}, {about['cores']} cores, {about['system']}; {versions}"]
    parts.append("\n".join(f"{name}: {device}" for name, device in devices.items()))
    if "training" in results:
        parts.append(ABOUT)
    parts += [training_table(*entry) for entry in results.get("training", {}).items()]
    if "matmul" in results:
        parts.append(matmul_table(results["matmul"]))
    if "build" in results:
        parts.append(build_table(results["build"]))
    return "\n\n".join(part for part in parts if part)
