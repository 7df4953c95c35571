//! The threads of Mesa's llvmpipe, the software adapter of most Linux machines without a GPU.

/// Read by Mesa when the adapter is opened.
const VARIABLE: &str = "LP_NUM_THREADS";

/// The most that llvmpipe makes.
const MOST: usize = 32;

/// Asks for more threads than llvmpipe makes by itself, unless the user has asked for some number.
///
/// To be called before the process has a second thread.
pub fn ask_for_more() {
    let Ok(cores) = std::thread::available_parallelism() else { return };
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: nobody else reads or writes the environment: there is no other thread yet.
        unsafe { std::env::set_var(VARIABLE, threads(cores.get()).to_string()) };
    }
}

/// Two a core. llvmpipe deals out the workgroups of a dispatch in as many equal shares as it has threads, by itself one a core: a core that
/// wakes late has its whole share left when the others are done. With two shares a core they take one over.
fn threads(cores: usize) -> usize {
    cores.saturating_mul(2).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_a_core_as_far_as_there_are() {
        assert_eq!([1, 2, 16, 17, usize::MAX].map(threads), [2, 4, 32, 32, 32]);
    }
}
