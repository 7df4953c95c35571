//! Long sums cut into slices, so that no invocation loops long: some drivers stop a shader after 65,535 iterations, others after
//! two seconds. A second pass adds the slices in a fixed order.

use super::{Lowering, shader};
use crate::gpu::{Dispatch, Shader, params};

/// Terms that one invocation adds at most.
pub const MAX_TERMS: u32 = 4096;

/// Workgroups that keep a device busy: a sum of few results is cut so that there are so many.
const BUSY_WORKGROUPS: u32 = 32;

/// A slice of fewer terms costs more in the second pass than it gains in the first.
const FEWEST_TERMS: u32 = 256;

static SUM_SLICES: Shader = shader!("sum_slices");

params! {
    SumSlicesParams {
        length: u32,
        slices: u32,
        groups: u32,
        slices_per_group: u32,
    }
}

/// A sum over `rows` rows cut into `slices` of `slice_length` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    pub slices: u32,
    pub slice_length: u32,
}

impl Slices {
    /// As few slices as keep one invocation at [`MAX_TERMS`] terms or, where a row alone is longer, at one row.
    pub fn new(rows: u32, terms_per_row: u32) -> Self {
        let slice_length = (MAX_TERMS / terms_per_row.max(1)).clamp(1, rows.max(1));
        Self { slices: rows.div_ceil(slice_length).max(1), slice_length }
    }

    /// At most as long, and so many that a device has something to do where one slice is `workgroups`.
    pub fn spread(rows: u32, terms_per_row: u32, workgroups: u64) -> Self {
        let longest = Self::new(rows, terms_per_row);
        let wanted = u64::from(BUSY_WORKGROUPS).div_ceil(workgroups.max(1)) as u32;
        let fewest_rows = FEWEST_TERMS.div_ceil(terms_per_row.max(1));
        let slice_length = rows.div_ceil(wanted).max(fewest_rows).min(longest.slice_length).max(1);
        Self { slices: rows.div_ceil(slice_length).max(1), slice_length }
    }

    /// The kernel `sum` over `length` results, followed by the passes over its slices where there are several. `sum` receives the
    /// place of the operand that it writes: `output`, or a scratch buffer after the op's `operands`.
    pub fn lower(self, length: usize, output: usize, operands: usize, sum: impl FnOnce(usize) -> Dispatch) -> Lowering {
        if self.slices == 1 {
            return sum(output).into();
        }
        let scratch = [operands, operands + 1];
        let mut lowering = Lowering {
            dispatches: vec![sum(scratch[0])],
            scratch: vec![(self.slices as usize).saturating_mul(length)],
        };
        let (mut slices, mut from) = (self.slices, 0);
        while slices > 1 {
            let groups = slices.div_ceil(MAX_TERMS);
            let to = if groups == 1 { output } else { scratch[1 - from] };
            if groups > 1 && lowering.scratch.len() < 2 {
                lowering.scratch.push(groups as usize * length);
            }
            let params = SumSlicesParams { length: length as u32, slices, groups, slices_per_group: MAX_TERMS };
            lowering.dispatches.push(Dispatch::new(
                &SUM_SLICES,
                "sum_slices",
                &params,
                &[("partials", scratch[from]), ("output", to)],
                u64::from(groups) * length as u64,
            ));
            (slices, from) = (groups, 1 - from);
        }
        lowering
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_every_row_and_stay_short() {
        for (rows, terms) in [(1, 1), (4096, 1), (4097, 1), (112, 28), (5120, 10), (7, 5000), (1 << 20, 3)] {
            let Slices { slices, slice_length } = Slices::new(rows, terms);
            assert!(slices * slice_length >= rows && (slices - 1) * slice_length < rows);
            assert!(slice_length * terms <= MAX_TERMS || slice_length == 1);
        }
    }
}
