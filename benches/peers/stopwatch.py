"""A contestant at work, timed from outside by the lines it prints."""

import collections
import os
import queue
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from verdict import timed

# Of a line of `shadegrad train`, which the peers imitate.
LOSS = re.compile(r"^\[(\d+), *(\d+)\] loss: (\S+)")
DEVICE = re.compile(r"^(?:device|adapter): (.*)")

Line = collections.namedtuple("Line", "time epoch step value")


class Failed(Exception):
    """A contestant ended, or said nothing for too long."""


class Process:
    """Runs a command until it is stopped. Its caches and its working folder are in `state`."""

    def __init__(self, command, state, patience):
        state.mkdir(parents=True, exist_ok=True)
        self.errors, self.patience, self.device = state / "stderr.txt", patience, None
        # The drivers' shader caches, Burn's autotuning and ours live in the user's cache folder. Python keeps its home: packages may be
        # installed in it.
        environment = os.environ | {"XDG_CACHE_HOME": str(state / "cache")}
        if not Path(command[0]).name.startswith("python"):
            environment["HOME"] = str(state)
        self.started = time.monotonic()
        with open(self.errors, "w") as errors:
            self.child = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, cwd=state, env=environment, text=True
            )
        self.lines = queue.SimpleQueue()
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self):
        for text in self.child.stdout:
            now = time.monotonic()
            if found := LOSS.match(text):
                self.lines.put(Line(now, int(found[1]), int(found[2]), float(found[3])))
            elif found := DEVICE.match(text):
                self.device = found[1]
        self.lines.put(None)

    def line(self):
        """The next one that it prints."""
        try:
            line = self.lines.get(timeout=self.patience)
        except queue.Empty:
            raise Failed(f"no line for {self.patience:.0f} s") from None
        if line is None:
            last = self.errors.read_text(errors="replace").strip().splitlines()[-3:]
            raise Failed(f"it ended with status {self.child.wait()}: {' · '.join(last)}")
        return line

    def probe(self):
        """About how many steps it does in a second, once the first ones are done."""
        lines = [self.line(), self.line()]
        while lines[-1].time - lines[0].time < (1.5 if len(lines) > 5 else 10):
            lines.append(self.line())
        steps, time = timed(lines[len(lines) // 2 - 1 :])
        return steps / time

    def round(self, seconds):
        """Lets it go on for so long; steps per second from its first line on, which only starts the clock: what it was doing when it
        was paused is in that one."""
        while not self.lines.empty():
            self.lines.get()
        os.kill(self.child.pid, signal.SIGCONT)
        lines = [self.line()]
        while True:
            lines.append(self.line())
            steps, time = timed(lines)
            if time >= seconds:
                break
        self.pause()
        return steps / time

    def pause(self):
        os.kill(self.child.pid, signal.SIGSTOP)

    def peak_memory(self):
        """Bytes that were resident at most, as Linux counts them for this program alone."""
        try:
            status = Path(f"/proc/{self.child.pid}/status").read_text()
        except OSError:
            return None
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return 1024 * int(found[1]) if found else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """At once, paused or not: nobody wants what it has trained."""
        self.child.kill()
        self.child.wait()
        self.listener.join()
        self.child.stdout.close()
