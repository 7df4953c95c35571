"""Who is there, what is measured of them, and where the results are kept."""

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import verdict
from contestants import BATCHES, CONTESTANTS, HERE, build, built
from stopwatch import Failed, Process
from training import Job


class Comparison:
    def __init__(self, options):
        self.options = options
        self.python = os.environ.get("PYTHON", sys.executable)
        self.until = time.monotonic() + 60 * options.minutes if options.minutes else None
        self.results = {"machine": machine()}
        if options.json and options.json.exists():
            self.results = verdict.merge(json.loads(options.json.read_text()), self.results)

    def run(self):
        """Whether the losses agreed."""
        options = self.options
        if "build" in options.part:
            for contestant in self.to_build():
                self.note(f"building {contestant.name}")
                self.keep("build", contestant.name, build(contestant, clean=True))
        contestants = self.present()
        if not contestants:
            sys.exit("error: nobody is left to compare")
        agreed = True
        for network in options.network:
            for batch in options.batch + [512] * (options.gpu and network == "wide"):
                if not {"start", "steps"} & set(options.part):
                    continue
                if not self.has_time(f"{network}, batch {batch}"):
                    continue
                job = Job(self, network, batch)
                if "start" in options.part:
                    agreed &= job.start(contestants)
                if "steps" in options.part:
                    job.steps(contestants)
        if "matmul" in options.part:
            for size in options.size:
                self.matmul(contestants, size)
        return agreed

    def to_build(self):
        contestants = [CONTESTANTS[name] for name in self.options.only]
        return [contestant for contestant in contestants if contestant.build]

    def present(self):
        """Those that can take part; says who cannot, and why."""
        if not self.options.bin:
            for contestant in (*self.to_build(), BATCHES):
                if contestant.name != "shadegrad" or not self.options.shadegrad:
                    # What could not be built, cargo says.
                    with contextlib.suppress(subprocess.CalledProcessError):
                        build(contestant, clean=False)
        if not self.executable(BATCHES).exists():
            sys.exit(f"error: no {self.executable(BATCHES)}, which writes what all train on")
        present = []
        for name in self.options.only:
            if why := self.absence(CONTESTANTS[name]):
                self.note(f"{name} is left out: {why}")
            else:
                present.append(CONTESTANTS[name])
        return present

    def absence(self, contestant):
        if contestant.build:
            return None if self.executable(contestant).exists() else f"no {self.executable(contestant)}"
        look = "import safetensors, torch; print(torch.__version__, torch.cuda.is_available())"
        found = subprocess.run((self.python, "-c", look), capture_output=True, text=True)
        if found.returncode:
            return f"{self.python} -m pip install torch safetensors numpy"
        version, cuda = found.stdout.split()
        self.results["machine"]["versions"]["pytorch"] = version
        return "no CUDA device" if contestant.device == "cuda" and cuda == "False" else None

    def pack(self):
        """Without symbols: a machine that has to be sent them is sent less."""
        self.options.pack.mkdir(parents=True, exist_ok=True)
        for contestant in (*(contestant for contestant in self.present() if contestant.build), BATCHES):
            subprocess.run(("strip", "-o", self.options.pack / contestant.name, self.executable(contestant)), check=True)

    def executable(self, contestant):
        if contestant.name == "shadegrad" and self.options.shadegrad:
            return self.options.shadegrad
        return self.options.bin / contestant.name if self.options.bin else built(contestant)

    def command(self, contestant, task, what, every):
        """Of a peer; all take the same."""
        if contestant.device:
            return [self.python, str(HERE / "pytorch.py"), contestant.device, task, str(what), str(every)]
        return [str(self.executable(contestant)), task, str(what), str(every)]

    def open(self, command, state):
        return Process(command, state, self.options.patience)

    def has_time(self, what):
        if self.until and time.monotonic() > self.until:
            self.note(f"no time left for {what}")
            return False
        self.note(what)
        return True

    def note(self, text):
        print(text, file=sys.stderr, flush=True)

    def keep(self, *path_and_value):
        *path, value = path_and_value
        for key in reversed(path):
            value = {key: value}
        self.results = verdict.merge(self.results, value)
        if self.options.json:
            self.options.json.write_text(json.dumps(self.results, indent=1) + "\n")

    def rounds(self, processes):
        """The speeds of everybody in each round, by name. Who fails is left out from then on."""
        speeds = {name: [] for name in processes}
        for _ in range(self.options.rounds):
            for name in list(speeds):
                try:
                    speeds[name].append(processes[name].round(self.options.seconds))
                except Failed as failure:
                    self.note(f"{name} failed: {failure}")
                    del speeds[name]
        return speeds

    def matmul(self, contestants, size):
        title = f"matmul {size}³"
        if not self.has_time(title):
            return
        flop = 2 * size**3
        with contextlib.ExitStack() as stack:
            processes = {}
            for contestant in contestants:
                state = self.options.state / f"{contestant.name}-matmul-{size}"
                if contestant.name == "shadegrad":
                    self.keep("matmul", str(size), "shadegrad", {"gflops": self.bench(contestant, size, state)})
                    continue
                try:
                    command = lambda every: self.command(contestant, "matmul", size, every)
                    with self.open(command(2), state) as process:
                        every = max(2, verdict.lines_every(process.probe()))
                    processes[contestant.name] = process = stack.enter_context(self.open(command(every), state))
                    # A product is off by rounding alone, or it is no product.
                    if process.line().value > 1e-3:
                        raise Failed("its products are wrong")
                    process.pause()
                except Failed as failure:
                    self.note(f"{contestant.name} failed: {failure}")
                    processes.pop(contestant.name, None)
            for name, speeds in self.rounds(processes).items():
                self.keep("matmul", str(size), name, {"gflops": [flop * speed / 1e9 for speed in speeds]})

    def bench(self, shadegrad, size, state):
        """Of the fastest variant, timed by shadegrad's own `bench`, which verifies it."""
        state.mkdir(parents=True, exist_ok=True)
        command = (str(self.executable(shadegrad)), "bench", "matmul", "--shape", f"m={size},k={size},n={size}", "--json", "-")
        environment = os.environ | {"XDG_CACHE_HOME": str(state / "cache"), "HOME": str(state)}
        found = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        cases = json.loads(found.stdout)["cases"]
        return [max(case["gflops"] for case in cases if case["verified"])]


def machine():
    """What a reader has to know about where it ran."""
    processor = platform.processor()
    with contextlib.suppress(OSError):
        processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    lock = (HERE / "Cargo.lock").read_text()
    versions = {name: re.search(rf'name = "{name}"\nversion = "(.*)"', lock)[1] for name in ("burn", "candle-core")}
    return {"processor": processor, "cores": len(os.sched_getaffinity(0)), "system": platform.system(), "versions": versions}
