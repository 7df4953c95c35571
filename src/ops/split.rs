//! Long sums cut into slices, so that no invocation loops long: some drivers stop a shader after 65,535 iterations, others after
//! two seconds. A second pass adds the slices in a fixed order.

use super::{Lowering, shader};
use crate::gpu::{Dispatch, Shader, params};

/// Terms that one invocation adds at most.
pub const MAX_TERMS: u32 = 4096;

/// The same where it computes a tile. A driver that leaves the loop over a tile's channels rolled, as with bounds checks some do, takes up to 17
/// turns for each term.
pub const MAX_TILE_TERMS: u32 = 3072;

/// Workgroups that keep a device busy: a sum of few results is cut so that there are so many.
pub const BUSY_WORKGROUPS: u32 = 32;

/// A slice of fewer terms costs more in the second pass than it gains in the first.
const FEWEST_TERMS: u32 = 512;

/// Results and slices of them that hide what their loads wait for, where each has an invocation of its own, and the fewest terms of such a slice.
const HIDING_INVOCATIONS: u64 = 32_768;
const FEWEST_TERMS_OF_ONE: u32 = 64;

static SUM_SLICES: Shader = shader!("sum_slices");

params! {
    SumSlicesParams {
        length: u32,
        other_length: u32,
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
        Self::of_most(MAX_TERMS, rows, terms_per_row)
    }

    /// The same at [`MAX_TILE_TERMS`].
    pub fn of_tiles(rows: u32, terms_per_row: u32) -> Self {
        Self::of_most(MAX_TILE_TERMS, rows, terms_per_row)
    }

    fn of_most(terms: u32, rows: u32, terms_per_row: u32) -> Self {
        let slice_length = (terms / terms_per_row.max(1)).clamp(1, rows.max(1));
        Self { slices: rows.div_ceil(slice_length).max(1), slice_length }
    }

    /// Of tiles, at most as long, and so many that a device has something to do where one slice is `workgroups`.
    pub fn spread(rows: u32, terms_per_row: u32, workgroups: u64) -> Self {
        let wanted = u64::from(BUSY_WORKGROUPS).div_ceil(workgroups.max(1)) as u32;
        Self::of_tiles(rows, terms_per_row).cut(rows, wanted, FEWEST_TERMS.div_ceil(terms_per_row.max(1)))
    }

    /// So many that a hardware GPU has enough to do while it waits for loads, where one slice is `results` invocations.
    pub fn fine(rows: u32, terms_per_row: u32, results: u64) -> Self {
        let wanted = HIDING_INVOCATIONS.div_ceil(results.max(1)) as u32;
        Self::new(rows, terms_per_row).cut(rows, wanted, FEWEST_TERMS_OF_ONE.div_ceil(terms_per_row.max(1)))
    }

    /// Cut further, into `wanted` slices of at least `fewest_rows`.
    fn cut(self, rows: u32, wanted: u32, fewest_rows: u32) -> Self {
        let slice_length = rows.div_ceil(wanted).max(fewest_rows).min(self.slice_length).max(1);
        Self { slices: rows.div_ceil(slice_length).max(1), slice_length }
    }

    /// The kernel `sum`, followed by the passes over its slices where there are several. It has one result or two, each given by its length and
    /// its place in the op's `operands`; `sum` receives the places that it writes: those, or scratch buffers after the operands.
    pub fn lower<const N: usize>(
        self,
        results: [(usize, usize); N],
        operands: usize,
        sum: impl FnOnce([usize; N]) -> Dispatch,
    ) -> Lowering {
        let outputs = results.map(|(_, place)| place);
        if self.slices == 1 {
            return sum(outputs).into();
        }
        let scratch = |turn: usize| std::array::from_fn::<_, N, _>(|result| operands + turn * N + result);
        let lengths = |slices: u32| results.map(|(length, _)| (slices as usize).saturating_mul(length));
        let mut lowering = Lowering::from(sum(scratch(0)));
        lowering.scratch = lengths(self.slices).to_vec();
        let (mut slices, mut turn) = (self.slices, 0);
        while slices > 1 {
            let groups = slices.div_ceil(MAX_TERMS);
            let to = if groups == 1 { outputs } else { scratch(1 - turn) };
            if groups > 1 && lowering.scratch.len() < 2 * N {
                lowering.scratch.extend(lengths(groups));
            }
            lowering.dispatches.push(pass(results.map(|(length, _)| length), scratch(turn), to, slices, groups));
            (slices, turn) = (groups, 1 - turn);
        }
        lowering
    }
}

/// One pass over the slices of one result or two.
fn pass<const N: usize>(lengths: [usize; N], from: [usize; N], to: [usize; N], slices: u32, groups: u32) -> Dispatch {
    let params = SumSlicesParams {
        length: lengths[0] as u32,
        other_length: lengths.get(1).map_or(0, |&length| length as u32),
        slices,
        groups,
        slices_per_group: MAX_TERMS,
    };
    let names = [("partials", "output"), ("other_partials", "other_output")];
    let places = names.into_iter().zip(from.into_iter().zip(to));
    let bindings: Vec<_> =
        places.flat_map(|((partials, output), (from, to))| [(partials, from), (output, to)]).collect();
    let entry_point = if N == 1 { "sum_slices" } else { "sum_slices_pair" };
    let results = lengths.iter().map(|&length| length as u64).sum::<u64>();
    Dispatch::new(&SUM_SLICES, entry_point, &params, &bindings, u64::from(groups) * results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_every_row_and_stay_short() {
        for (rows, terms) in
            [(1, 1), (3072, 1), (3073, 1), (4096, 1), (4097, 1), (112, 28), (5120, 10), (7, 5000), (1 << 20, 3)]
        {
            for (sliced, most) in
                [(Slices::new(rows, terms), MAX_TERMS), (Slices::of_tiles(rows, terms), MAX_TILE_TERMS)]
            {
                let Slices { slices, slice_length } = sliced;
                assert!(slices * slice_length >= rows && (slices - 1) * slice_length < rows);
                assert!(slice_length * terms <= most || slice_length == 1);
            }
        }
    }

    #[test]
    fn fine_slices_are_short_where_results_are_few() {
        // The tutorial's first layer at batch 4: 456 results of 3,136 terms; and one of many results, whose sums are long.
        assert_eq!(Slices::fine(112, 28, 456), Slices { slices: 38, slice_length: 3 });
        assert_eq!(Slices::fine(1 << 16, 1, 1 << 20), Slices::new(1 << 16, 1));
        assert_eq!(Slices::fine(1, 1, 1), Slices { slices: 1, slice_length: 1 });
    }
}
