"""`python3 -m unittest discover benches/peers`: what `run` does without any contestant."""

import sys
import tempfile
import time
import unittest
from pathlib import Path

import verdict
from stopwatch import Failed, Line, Process

TICKER = """
import time
print("device: a clock", flush=True)
for step in range(1, 10000):
    time.sleep(0.01)
    print(f"[1, {step:5}] loss: 2.5", flush=True)
"""


class Verdict(unittest.TestCase):
    def test_the_end_of_an_epoch_is_not_timed(self):
        lines = [Line(0.0, 1, 80, 0), Line(1.0, 1, 90, 0), Line(9.0, 2, 10, 0), Line(10.5, 2, 20, 0)]
        self.assertEqual(verdict.timed(lines), (20, 2.5))

    def test_lines_come_often_and_after_an_even_number_of_steps(self):
        self.assertEqual([verdict.lines_every(speed) for speed in (0.1, 5, 14, 1000)], [1, 1, 4, 250])
        self.assertEqual(verdict.lines_every(1000, most=97), 96)

    def test_the_largest_difference_is_found(self):
        self.assertEqual(verdict.difference([2.0, 0.5, 0.25], [2.5, 0.5, 0.125]), (0.25, 1))
        self.assertEqual(verdict.difference([1.0, 0.5], [1.0, 1.0]), (0.5, 2))
        with self.assertRaises(ValueError):
            verdict.difference([1.0], [1.0, 2.0])

    def test_later_results_win_and_the_others_stay(self):
        self.assertEqual(verdict.merge({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 4}}), {"a": {"x": 1, "y": 4}, "b": 3})

    def test_a_table_says_what_was_measured_and_leaves_out_what_was_not(self):
        contestants = {
            "shadegrad": {"steps_per_second": [900.0, 1000.0, 2000.0], "peak_memory": 200 * 2**20, "loss_difference": 0.0},
            "other": {"steps_per_second": [20.0, 21.0, 19.0], "first_step_cold": 33.04},
        }
        text = verdict.training_table("lenet, batch 4", contestants)
        self.assertIn("| 1,000   | 4,000    |", text)
        self.assertRegex(text, r"other .* 20 +\| 80 +\| ×50 +\| 33 s .*– +\| – +\| – +\|")

    def test_a_table_of_matmuls_compares_at_every_size(self):
        sizes = {"512": {"shadegrad": {"gflops": [30.0]}, "other": {"gflops": [10.0, 15.0, 20.0]}}, "1024": {"shadegrad": {"gflops": [40.0]}}}
        text = verdict.matmul_table(sizes)
        self.assertRegex(text, r"shadegrad +\| 30 +\| 40 +\|")
        self.assertRegex(text, r"other +\| 15 \(×2\) +\| – \(–\) +\|")

    def test_numbers_are_short(self):
        self.assertEqual([verdict.number(value) for value in (0.01234, 2.0, 8.612, 137.4, 12345.6)], ["0.0123", "2", "8.61", "137", "12,346"])


class Stopwatch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = Path(folder.name) / "state"

    def test_what_is_paused_does_nothing(self):
        with Process([sys.executable, "-c", TICKER], self.state, 10) as process:
            process.line()
            process.pause()
            time.sleep(0.3)
            before = process.lines.qsize()
            time.sleep(0.3)
            self.assertEqual(process.lines.qsize(), before)
            # A sleep is never shorter than it should be.
            self.assertLess(process.round(0.2), 101)
            self.assertEqual(process.device, "a clock")

    def test_who_ends_has_failed(self):
        with Process([sys.executable, "-c", "exit('no adapter')"], self.state, 10) as process:
            with self.assertRaisesRegex(Failed, "status 1: no adapter"):
                process.line()


if __name__ == "__main__":
    unittest.main()
