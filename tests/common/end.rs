//! How a command ended, and how much memory it took.

use std::io::Read;
use std::process::{Command, Stdio};

/// What became of a command: exit code, standard error, and the peak of its memory in MiB where the system says.
pub struct End {
    pub code: Option<i32>,
    pub stderr: String,
    #[cfg(target_os = "linux")]
    pub peak_mib: i64,
}

#[cfg_attr(target_os = "linux", allow(clippy::zombie_processes, reason = "wait4 waits, and measures"))]
pub fn run(command: &mut Command) -> End {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::ExitStatusExt;
        let mut status = 0;
        // SAFETY: the pointers are to a status and a zeroed usage of this frame; nobody else waits for the child.
        let (waited, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(child.id() as libc::pid_t, &mut status, 0, &mut usage), usage)
        };
        assert_eq!(waited, child.id() as libc::pid_t);
        End { code: std::process::ExitStatus::from_raw(status).code(), stderr, peak_mib: usage.ru_maxrss >> 10 }
    }
    #[cfg(not(target_os = "linux"))]
    End { code: child.wait().unwrap().code(), stderr }
}
