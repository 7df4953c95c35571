"""One network at one batch size, trained by everybody."""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import verdict
from contestants import BATCHES, CONTESTANTS
from stopwatch import Failed

SEED = 0
# An epoch after the other until it is stopped.
ENDLESS = 1_000_000


class Job:
    """One network at one batch size."""

    def __init__(self, comparison, network, batch):
        self.comparison, self.network, self.batch = comparison, network, batch
        self.title = f"{network}, batch {batch}"
        state = comparison.options.state
        state.mkdir(parents=True, exist_ok=True)
        data = comparison.options.data
        self.file = state / f"{Path(data).name}-{network}-{batch}.safetensors"
        batches = (comparison.executable(BATCHES), data, network, batch, verdict.STEPS, SEED, self.file)
        if not self.file.exists():
            subprocess.run([str(word) for word in batches], check=True)

    def state(self, contestant):
        return self.comparison.options.state / f"{contestant.name}-{self.network}-{self.batch}"

    def run_folder(self, contestant):
        return self.state(contestant) / "run"

    def open(self, contestant, every):
        if contestant.name != "shadegrad":
            command = self.comparison.command(contestant, "train", self.file, every)
        else:
            shutil.rmtree(self.run_folder(contestant), ignore_errors=True)
            flags = {
                "data": self.comparison.options.data, "model": self.network, "batch": self.batch, "lr": 0.001, "momentum": 0.9,
                "seed": SEED, "epochs": ENDLESS, "log-every": every, "out": self.run_folder(contestant),
            }
            command = [str(self.comparison.executable(contestant)), "train"]
            command += [str(word) for flag, value in flags.items() for word in (f"--{flag}", value)] + self.comparison.options.flags
        return self.comparison.open(command, self.state(contestant))

    def keep(self, contestant, values):
        self.comparison.keep("training", self.title, contestant.name, values)

    def start(self, contestants):
        """First steps without and with the caches of a run before, and the losses of the first steps."""
        losses = {}
        for contestant in contestants:
            if not self.comparison.has_time(f"{self.title}: {contestant.name} starts"):
                continue
            shutil.rmtree(self.state(contestant), ignore_errors=True)
            try:
                with self.open(contestant, 1) as process:
                    lines = [process.line() for _ in range(verdict.STEPS)]
                losses[contestant] = self.losses(contestant, lines)
                with self.open(contestant, 1) as again:
                    warm = again.line().time - again.started
            except Failed as failure:
                self.comparison.note(f"{contestant.name} failed: {failure}")
                losses.pop(contestant, None)
                continue
            cold = lines[0].time - process.started
            self.keep(contestant, {"device": process.device, "first_step_cold": cold, "first_step_warm": warm})
        return self.compare(losses)

    def losses(self, contestant, lines):
        """Of the steps of these lines, as exact as they are told."""
        if contestant.name != "shadegrad":
            return [line.value for line in lines]
        return [event["loss"] for event in self.events(contestant, "loss")[: len(lines)]]

    def events(self, shadegrad, kind):
        with open(self.run_folder(shadegrad) / "metrics.jsonl") as file:
            events = map(json.loads, file)
            return [event for event in events if event["event"] == kind]

    def compare(self, losses):
        """Everybody with shadegrad, of this call or an earlier one, or, without it, with the first of them."""
        agreed = True
        earlier = self.comparison.results.get("training", {}).get(self.title, {}).get("shadegrad", {}).get("losses")
        for contestant, theirs in losses.items():
            first = next(iter(losses))
            ours = earlier if earlier and first.name != "shadegrad" else losses[first]
            largest, step = verdict.difference(ours, theirs)
            self.keep(contestant, {"losses": theirs, "loss_difference": largest})
            if largest > verdict.TOLERANCE:
                agreed = False
                self.comparison.note(f"{self.title}: {contestant.name} DISAGREES at step {step}: {theirs[step - 1]}, not {ours[step - 1]}")
        return agreed

    def steps(self, contestants):
        """Everybody is started and warmed up, then goes on in turn while the others are paused."""
        if not self.comparison.has_time(f"{self.title}: speed"):
            return
        with contextlib.ExitStack() as stack:
            processes = {}
            for contestant in contestants:
                try:
                    every = self.every(contestant)
                    processes[contestant.name] = process = stack.enter_context(self.open(contestant, every))
                    # Until the first lines come as fast as later ones: what is compiled or tuned on the way is done.
                    for _ in range(3):
                        process.line()
                    process.pause()
                except Failed as failure:
                    self.comparison.note(f"{contestant.name} failed: {failure}")
                    processes.pop(contestant.name, None)
            for name, speeds in self.comparison.rounds(processes).items():
                memory = processes[name].peak_memory()
                self.keep(CONTESTANTS[name], {"steps_per_second": speeds, "peak_memory": memory})

    def every(self, contestant):
        """Steps to a line."""
        with self.open(contestant, 1) as process:
            speed = process.probe()
        # Several lines to an epoch: only what lies between two of one epoch is timed.
        most = self.events(contestant, "start")[0]["batches"] // 4 if contestant.name == "shadegrad" else None
        return verdict.lines_every(speed, most)
