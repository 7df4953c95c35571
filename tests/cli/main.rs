//! The binary as a person drives it: what it prints, what it writes, how it refuses, and what an interruption leaves behind.

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod data;
#[cfg(target_os = "linux")]
#[path = "../common/end.rs"]
mod end;
mod errors;
mod evaluation;
mod export;
mod initial_weights;
#[cfg(unix)]
mod interruption;
mod kernels;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod no_adapter;
mod predict;
mod recipes;
mod report;
mod show;
mod tools;
mod training;
mod tuning;
mod usage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longer than any command here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the software adapter on a machine without a GPU adds to standard error.
const SOFTWARE_ADAPTER: &str = "warning: no GPU was found or asked for";

/// A folder to work in, and the program started there, whatever the environment of the tests says.
struct Workplace(TempDir);

impl Workplace {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `arguments` are separated by spaces. A run that begins does so with the default kernels: what is faster at the moment, on a machine
    /// that runs other tests as well, decides no bit of it. `tuning` tests what else there is.
    fn command(&self, arguments: &str) -> Command {
        let mut command = self.command_as_is(arguments);
        if arguments.starts_with("train ") && !["--resume", "--no-tune"].iter().any(|flag| arguments.contains(flag)) {
            command.arg("--no-tune");
        }
        command
    }

    fn command_as_is(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shadegrad"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        // Not the user's own.
        command.env("SHADEGRAD_CACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
        for variable in ["HTTP_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "SHADEGRAD_DATA"] {
            command.env_remove(variable);
        }
        // No test may reach the network: port 9 of the loopback address refuses.
        command.env("ALL_PROXY", "http://127.0.0.1:9").env("HTTPS_PROXY", "http://127.0.0.1:9");
        command.env("NO_PROXY", "127.0.0.1").env("RUST_BACKTRACE", "1");
        command
    }

    fn run(&self, arguments: &str) -> Outcome {
        Outcome::of(self.command(arguments))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

/// How a command ended.
struct Outcome {
    arguments: String,
    /// `None` after a signal.
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(command: Command) -> Self {
        let arguments = command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let output = assert_cmd::Command::from_std(command).timeout(PATIENCE).output().unwrap();
        let outcome = Self {
            arguments,
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert_no_panic(&outcome.stderr);
        outcome
    }

    /// The output of a command that has to succeed.
    #[track_caller]
    fn success(self) -> Self {
        let Self { arguments, code, stdout, stderr } = &self;
        assert_eq!(*code, Some(0), "shadegrad {arguments}\n{stdout}{stderr}");
        self
    }

    /// Asserts the exit code and the whole of standard error, but for the line about a software adapter.
    #[track_caller]
    fn refuses(&self, code: i32, message: &str) {
        assert_eq!(self.refusal(code), message, "shadegrad {}", self.arguments);
    }

    /// Asserts the exit code; standard error without the line about a software adapter.
    #[track_caller]
    fn refusal(&self, code: i32) -> String {
        let Self { arguments, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "shadegrad {arguments}\n{stderr}");
        let lines = stderr.lines().filter(|line| !line.starts_with(SOFTWARE_ADAPTER));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// What follows `start` on the one line of standard output that starts so.
    #[track_caller]
    fn after(&self, start: &str) -> &str {
        let found: Vec<&str> = self.stdout.lines().filter_map(|line| line.strip_prefix(start)).collect();
        assert_eq!(found.len(), 1, "lines that start with {start:?} in\n{}", self.stdout);
        found[0]
    }

    fn weights_sha256(&self) -> &str {
        self.after("weights: sha256 ")
    }
}

#[track_caller]
fn assert_no_panic(stderr: &str) {
    for word in ["panicked", "backtrace", "RUST_BACKTRACE"] {
        assert!(!stderr.contains(word), "{stderr}");
    }
}

/// The events of a kind in a run's metrics.jsonl.
fn events(run: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == kind).collect()
}

/// Six files in CIFAR-10's layout, all zeros; sparse, so they cost no disk.
fn write_cifar10(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let train = (1..=5).map(|number| format!("data_batch_{number}.bin"));
    for name in train.chain(["test_batch.bin".into()]) {
        fs::File::create(folder.join(name)).unwrap().set_len(30_730_000).unwrap();
    }
}
