//! How fast is a kernel, and how fast could it be? The device's own ceilings first, then each kernel against them: verified, warmed up,
//! its inputs rotated past the cache, interleaved with its rivals, timed by the GPU's clock where that can be believed, verified again.
//!
//! Manners: hyperfine. Roofline: Williams, Waterman, Patterson 2009, "Roofline: an insightful visual performance model".

mod baseline;
mod ceilings;
mod clock;
mod fma;
mod measure;
mod plot;
mod report;
mod statistics;
mod step;
mod work;

pub use baseline::{Baseline, Change, Verdict};
pub use ceilings::{Bound, Ceilings};
pub use clock::{Clock, MAX_EXECUTIONS, Timing, implausible};
pub use measure::{Contender, Measured, Outcome, ROUNDS, measure, prepare, variants};
pub use plot::roofline;
pub use report::{Report, Row};
pub use statistics::Summary;
pub use step::{Part, StepReport, chrome_trace, step};
pub use work::Work;
