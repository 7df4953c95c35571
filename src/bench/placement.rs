//! Where a software adapter's threads run. There the cores are the device, and the system moves a driver's threads between them: two that
//! share a core for a second halve a kernel's speed for that second, and two runs of a bench no longer measure the same machine.

/// Gives each of the process's driver threads a core of its own, as far as there are cores. Does nothing on systems other than Linux, and
/// for drivers other than Mesa's llvmpipe, whose threads are known by their names.
#[cfg(target_os = "linux")]
pub fn place_driver_threads() {
    use std::fs;

    let Some(cores) = allowed_cores() else { return };
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
    let mut workers: Vec<libc::pid_t> = tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?;
            name.starts_with("llvmpipe-").then(|| path.file_name()?.to_str()?.parse().ok())?
        })
        .collect();
    workers.sort_unstable();
    for (&worker, &core) in workers.iter().zip(cores.iter().cycle()) {
        place(worker, core);
    }
}

#[cfg(not(target_os = "linux"))]
pub fn place_driver_threads() {}

/// The cores that this process may use.
#[cfg(target_os = "linux")]
fn allowed_cores() -> Option<Vec<usize>> {
    // SAFETY: an all-zero set is a valid one, and the call writes no more than the size it is given.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) == 0).then_some(set)?
    };
    // SAFETY: the macro reads one bit of a set that it is given, at a place within it.
    let cores: Vec<usize> =
        (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect();
    (!cores.is_empty()).then_some(cores)
}

#[cfg(target_os = "linux")]
fn place(thread: libc::pid_t, core: usize) {
    // A thread that may not be placed, or is gone, runs where the system puts it.
    // SAFETY: as in `allowed_cores`; the core is one of those, so within the set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &set);
    }
}
