//! Which kernel runs an op: the one place where that is decided.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::conv2d_kernel::SPLIT;
use super::custom::CustomKernel;
use super::shared_tile::SharedTile;
use super::{Lowering, Op, PLAIN, SUBGROUP, SUBGROUP_LANES};
use crate::error::Result;
use crate::gpu::{Device, DeviceKind, Precision};

/// Invocations that keep a hardware GPU of many cores busy.
const ENOUGH_INVOCATIONS: u64 = 8192;

/// Variants that were chosen for ops of certain shapes, by op and [`Op::shape`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuned(BTreeMap<String, BTreeMap<String, String>>);

impl Tuned {
    /// Chooses a variant, in place of the one chosen before.
    pub fn insert(&mut self, op: &str, shape: &str, variant: &str) {
        self.0.entry(op.into()).or_default().insert(shape.into(), variant.into());
    }

    /// The variant chosen for an op of exactly this shape, whether it runs anywhere or not.
    pub fn get(&self, op: &str, shape: &str) -> Option<&str> {
        self.0.get(op)?.get(shape).map(String::as_str)
    }

    /// The variant chosen for an op, where a device runs it and was asked for no more precision.
    pub fn choice(&self, op: &dyn Op, device: &Device) -> Option<&'static str> {
        let chosen = self.get(op.name(), &op.shape())?;
        let may = |variant: &&str| *variant == chosen && runs_on(device, variant) && is_precise(device, variant);
        op.variants().iter().copied().find(may)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A choice for every op: a user's own kernel where one was given, else the variant that was chosen for its shape, else the best of ours.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    custom: Vec<CustomKernel>,
    tuned: Tuned,
}

impl Selection {
    pub fn new(custom: Vec<CustomKernel>) -> Self {
        Self { custom, tuned: Tuned::default() }
    }

    /// With variants chosen by shape.
    pub fn with_tuned(self, tuned: Tuned) -> Self {
        Self { tuned, ..self }
    }

    /// The users' kernels in it.
    pub fn custom(&self) -> &[CustomKernel] {
        &self.custom
    }

    /// The variants chosen by shape.
    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    /// The kernels that run `op` on a device.
    ///
    /// # Errors
    /// Sizes beyond what the kernel is made for.
    pub fn lower(&self, op: &dyn Op, device: &Device) -> Result<Lowering> {
        match self.custom_kernel(op) {
            Some(kernel) => kernel.lower(op),
            None => op.lower(self.tuned.choice(op, device).unwrap_or_else(|| choose(op, device))),
        }
    }

    /// The user's own kernel of an op.
    pub fn custom_kernel(&self, op: &dyn Op) -> Option<&CustomKernel> {
        self.custom.iter().find(|kernel| kernel.op() == op.name())
    }
}

/// Ours that an op runs on a device unless told otherwise.
pub fn choose(op: &dyn Op, device: &Device) -> &'static str {
    if device.info().kind == DeviceKind::Software {
        return last(op, |variant| is_candidate(device, variant));
    }
    let candidates = op.variants().iter().filter(|variant| is_candidate(device, variant));
    // One that cannot be lowered is chosen where there is no other, and says why.
    widest(candidates.map(|&variant| (variant, op.lower(variant).map_or(0, |lowering| invocations(&lowering)))))
}

/// Invocations of the kernel that computes the most.
fn invocations(lowering: &Lowering) -> u64 {
    let all = lowering.dispatches.iter().map(|dispatch| dispatch.workgroups * dispatch.workgroup_size());
    all.max().unwrap_or(0)
}

/// For hardware GPUs, by reasoning, because none has been measured: the last one listed, which does the most with what an invocation has loaded, that
/// still has invocations enough to hide what they wait for, or at least an eighth of those that it might have.
fn widest(candidates: impl Iterator<Item = (&'static str, u64)>) -> &'static str {
    let candidates: Vec<_> = candidates.collect();
    let most = candidates.iter().map(|&(_, invocations)| invocations).max().unwrap_or(0);
    let enough = ENOUGH_INVOCATIONS.min(most / 8);
    candidates.iter().rfind(|(_, invocations)| *invocations >= enough).map_or(PLAIN, |&(variant, _)| variant)
}

/// Ours that an op runs where of a device no more is known than whether it has subgroups; tiles in workgroup memory depend on more.
pub fn choose_unseen(op: &dyn Op, has_subgroups: bool) -> &'static str {
    last(op, |variant| (has_subgroups || !needs_subgroups(variant)) && SharedTile::of_variant(variant).is_none())
}

/// The last one listed is the fastest on every adapter measured so far, all of them software.
fn last(op: &dyn Op, runs: impl Fn(&str) -> bool) -> &'static str {
    op.variants().iter().rfind(|variant| runs(variant)).copied().unwrap_or(PLAIN)
}

/// Whether a variant may be the one that runs an op fastest on a device, to the precision that was asked for. On a software adapter workgroup memory
/// is memory like any other, and a barrier a switch between invocations: of the tiles in it only those are for it that round as nothing else does. Nor do
/// its few threads want short slices.
pub fn is_candidate(device: &Device, variant: &str) -> bool {
    let is_software = device.info().kind == DeviceKind::Software;
    let is_made_for = !is_software
        || variant != SPLIT && SharedTile::of_variant(variant).is_none_or(|tile| tile.factors() < Precision::F32);
    is_made_for && is_precise(device, variant) && runs_on(device, variant)
}

/// Whether a variant rounds no more than a device was opened for.
fn is_precise(device: &Device, variant: &str) -> bool {
    SharedTile::of_variant(variant).is_none_or(|tile| tile.factors() >= device.precision())
}

/// Whether a variant runs on devices alone that were opened for experiments.
pub fn is_experimental(variant: &str) -> bool {
    SharedTile::of_variant(variant).is_some_and(SharedTile::is_experimental)
}

/// Whether a device has what a variant needs.
pub fn runs_on(device: &Device, variant: &str) -> bool {
    let [lanes, _] = device.subgroup_lanes();
    let has_subgroups = !needs_subgroups(variant) || lanes >= SUBGROUP_LANES;
    has_subgroups && SharedTile::of_variant(variant).is_none_or(|tile| tile.runs_on(device))
}

/// Whether it is [`SUBGROUP`] or a variant of that, which has its name before its own.
fn needs_subgroups(variant: &str) -> bool {
    variant.starts_with(SUBGROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_gets_the_largest_tiles_that_leave_it_busy() {
        let chosen = |candidates: &[(&'static str, u64)]| widest(candidates.iter().copied());
        assert_eq!(chosen(&[("plain", 18_816), ("tiled", 1_176), ("subgroup", 224)]), "plain");
        assert_eq!(chosen(&[("plain", 456), ("split", 17_328), ("tiled", 38), ("subgroup", 224)]), "split");
        assert_eq!(chosen(&[("plain", 1 << 20), ("shared_64", 16_384), ("shared_128", 8_192)]), "shared_128");
        assert_eq!(chosen(&[("plain", 480), ("subgroup", 128)]), "subgroup");
        assert_eq!(chosen(&[("plain", 0)]), "plain");
        assert_eq!(chosen(&[]), PLAIN);
    }

    #[test]
    fn a_choice_is_for_one_shape_and_reads_well() {
        let mut tuned = Tuned::default();
        tuned.insert("matmul", "4×400 · 400×120ᵀ", "tiled");
        tuned.insert("matmul", "4×400 · 400×120ᵀ", "plain");
        tuned.insert("conv2d_forward", "4×3×32×32 → 4×6×28×28, kernel 5", "tiled");
        assert_eq!(tuned.get("matmul", "4×400 · 400×120ᵀ"), Some("plain"));
        assert_eq!(tuned.get("matmul", "4×400 · 400×121ᵀ"), None);
        let text = toml::to_string(&tuned).unwrap();
        let expected = "[conv2d_forward]\n\"4×3×32×32 → 4×6×28×28, kernel 5\" = \"tiled\"\n\n[matmul]\n\
                        \"4×400 · 400×120ᵀ\" = \"plain\"\n";
        assert_eq!(text, expected);
        assert_eq!(toml::from_str::<Tuned>(&text).unwrap(), tuned);
    }
}
