//! A user's own shader against every case of its op.

use shadegrad::check::{Kind, Row, run_lowering};
use shadegrad::gpu::{Adapter, Checks, Device};
use shadegrad::ops::custom::CustomKernel;
use shadegrad::{Result, cases};

use super::watchdog::{SHADER_PATIENCE, Watchdog};

/// Runs a kernel on the cases of its op, bounds checks on, and hands over each row once it is known. A case that does not end ends the
/// process.
///
/// # Errors
/// What the driver refuses. A wrong result is no error: see [`Row::passes`].
pub fn check(adapter: &Adapter, kernel: &CustomKernel, on_row: &mut dyn FnMut(Row)) -> Result<()> {
    let device = Device::open(adapter, Checks::Checked)?;
    let name: &'static str = kernel.name().leak();
    let watchdog = Watchdog::start(SHADER_PATIENCE, name);
    for case in cases::of(kernel.op()) {
        watchdog.step(format!("{name} on {}", case.shape()));
        on_row(Row {
            kind: Kind::Reference,
            relation: "f64 reference",
            op: kernel.op(),
            variant: name,
            shape: case.shape(),
            checks: device.checks(),
            outcome: run_lowering(&device, &case, &kernel.lower(&*case.op)?)?,
        });
    }
    watchdog.rest();
    Ok(())
}
