//! Somebody else's shader may never end, and a driver then never returns: the process does.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a case of somebody else's shader may take.
pub const SHADER_PATIENCE: Duration = Duration::from_secs(20);

/// Ends the process, exit code 5, when a step takes longer than it was given.
pub struct Watchdog(Arc<Mutex<Option<(Instant, String)>>>);

impl Watchdog {
    /// Every step may take `patience`.
    pub fn start(patience: Duration, step: &str) -> Self {
        let watched = Arc::new(Mutex::new(Some((Instant::now(), step.to_string()))));
        let watcher = Arc::clone(&watched);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(100));
                let Ok(watched) = watcher.lock() else { return };
                if let Some((since, step)) = &*watched
                    && since.elapsed() > patience
                {
                    let mut output = std::io::stderr();
                    let seconds = patience.as_secs();
                    writeln!(output, "\nerror: {step} did not end within {seconds} s").ok();
                    writeln!(output, "hint: a loop that does not end, or far too little parallel work").ok();
                    exit_at_once(5);
                }
            }
        });
        Self(watched)
    }

    /// The next step begins.
    pub fn step(&self, step: impl Into<String>) {
        if let Ok(mut watched) = self.0.lock() {
            *watched = Some((Instant::now(), step.into()));
        }
    }

    /// Nothing is watched until the next step.
    pub fn rest(&self) {
        if let Ok(mut watched) = self.0.lock() {
            *watched = None;
        }
    }
}

/// Ends the process without the exit handlers of a driver that still waits for a shader.
pub fn exit_at_once(code: i32) -> ! {
    #[cfg(unix)]
    // SAFETY: _exit takes any code, touches no memory of ours and does not return.
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}
