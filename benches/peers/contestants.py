"""Who is compared: how each is built, and how it is started."""

import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Contestant:
    name: str
    # The manifest, and what cargo is told of it; nothing where nothing is built.
    manifest: Path = HERE / "Cargo.toml"
    build: tuple = ()
    executable: str = ""
    # PyTorch's device.
    device: str = ""


CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("shadegrad", ROOT / "Cargo.toml", ("--bin", "shadegrad"), "shadegrad"),
        Contestant("burn-wgpu", build=("-p", "burn-peer", "--features", "wgpu"), executable="burn-peer"),
        Contestant("burn-flex", build=("-p", "burn-peer", "--features", "flex"), executable="burn-peer"),
        Contestant("candle", build=("-p", "candle"), executable="candle"),
        Contestant("pytorch", device="cpu"),
        Contestant("pytorch-cuda", device="cuda"),
        # Only when asked for by name.
        Contestant("burn-vulkan", build=("-p", "burn-peer", "--features", "vulkan"), executable="burn-peer"),
        Contestant("burn-ndarray", build=("-p", "burn-peer", "--features", "ndarray"), executable="burn-peer"),
    )
}
DEFAULT = ("shadegrad", "burn-wgpu", "burn-flex", "candle", "pytorch", "pytorch-cuda")
ON_GPU = ("shadegrad", "burn-wgpu", "pytorch", "pytorch-cuda")
# No contestant: writes what they train on.
BATCHES = Contestant("batches", build=("-p", "batches"), executable="batches")


def target(contestant):
    """Each has a folder of its own, so that none profits from what another has built."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "peers" / contestant.name


def built(contestant):
    """The executable that `build` leaves."""
    return target(contestant) / "release" / contestant.executable


def build(contestant, clean):
    """Builds it in release. With `clean`, from nothing but the downloaded sources; then says what that cost."""
    # Not --locked: a new dependency of shadegrad is one of batches as well, and the lock file follows; all else stays as locked.
    manifest = ("--manifest-path", str(contestant.manifest))
    if clean:
        subprocess.run(("cargo", "fetch", "--quiet", *manifest), check=True)
        shutil.rmtree(target(contestant), ignore_errors=True)
    command = ("cargo", "build", "--release", "--quiet", *manifest, *contestant.build)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run((*command, "--target-dir", str(target(contestant))), check=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
    if clean:
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"build_cpu_seconds": cpu, "build_seconds": wall, "binary_bytes": built(contestant).stat().st_size}
