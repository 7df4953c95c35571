//! Every case and every relation, as rows of one report.

use std::collections::BTreeSet;

use super::{Kind, Outcome, Relation, relation, run};
use crate::cases::{self, Case};
use crate::error::{Error, Result};
use crate::gpu::{Checks, Device};
use crate::ops::runs_on;

/// What to check; everything by default.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names of ops; all when empty.
    pub ops: Vec<String>,
    pub variant: Option<String>,
}

/// One check and how it went.
#[derive(Clone, Debug)]
pub struct Row {
    pub kind: Kind,
    /// What was compared, in words.
    pub relation: &'static str,
    pub op: &'static str,
    pub variant: &'static str,
    pub shape: String,
    pub checks: Checks,
    pub outcome: Outcome,
}

impl Row {
    pub fn passes(&self) -> bool {
        self.outcome.failure.is_none()
    }
}

/// The checks of a selection.
pub struct Suite {
    cases: Vec<Case>,
    relations: Vec<Relation>,
    variant: Option<String>,
}

impl Suite {
    /// # Errors
    /// An op or a variant that there is not, with the list of those there are.
    pub fn new(selection: &Selection) -> Result<Self> {
        let all = cases::all();
        if let Some(unknown) = selection.ops.iter().find(|op| all.iter().all(|case| case.op.name() != **op)) {
            return Err(cases::unknown_op(unknown));
        }
        let wanted = |op: &str| selection.ops.is_empty() || selection.ops.iter().any(|name| name == op);
        let cases: Vec<Case> = all.into_iter().filter(|case| wanted(case.op.name())).collect();
        if let Some(variant) = &selection.variant {
            let known = |op: Option<&str>| -> BTreeSet<&str> {
                let own = cases.iter().filter(|case| op.is_none_or(|op| case.op.name() == op));
                own.flat_map(|case| case.op.variants()).copied().collect()
            };
            // Every op that was named is to be checked; of all together, one that has it is enough.
            let named = selection.ops.iter().map(|op| Some(op.as_str()));
            for op in named.chain(selection.ops.is_empty().then_some(None)) {
                let known = known(op);
                if !known.contains(variant.as_str()) {
                    let of_op = op.map_or_else(String::new, |op| format!("of {op}: "));
                    let known: Vec<_> = known.into_iter().collect();
                    return Err(Error::usage(format!("no variant {variant} (expected {of_op}{})", known.join(", "))));
                }
            }
        }
        let chosen = |variant: &str| selection.variant.as_ref().is_none_or(|chosen| chosen == variant);
        let relations = relation::all().into_iter().filter(|relation| wanted(relation.op) && chosen(relation.variant));
        Ok(Self { cases, relations: relations.collect(), variant: selection.variant.clone() })
    }

    /// Rows for one device. Variants that need what it does not have are left out, in [`Suite::run`] too.
    pub fn rows(&self, device: &Device) -> usize {
        let runs = |variant: &&&str| self.wants(variant) && runs_on(device, variant);
        let variants = |case: &Case| case.op.variants().iter().filter(runs).count();
        let relations = self.relations.iter().filter(|relation| runs_on(device, relation.variant));
        self.cases.iter().map(variants).sum::<usize>() + relations.count()
    }

    /// Variants that a device does not have what they need for.
    pub fn left_out(&self, device: &Device) -> BTreeSet<&'static str> {
        let variants = self.cases.iter().flat_map(|case| case.op.variants()).copied();
        variants.filter(|variant| self.wants(variant) && !runs_on(device, variant)).collect()
    }

    fn wants(&self, variant: &str) -> bool {
        self.variant.as_ref().is_none_or(|chosen| chosen == variant)
    }

    /// Runs everything on each of the devices, usually one adapter with wgpu's checks and without; hands over each row once it is known.
    ///
    /// # Errors
    /// What the driver refuses. A wrong result is no error: see [`Row::passes`].
    pub fn run(mut self, devices: &[Device], on_row: &mut dyn FnMut(Row)) -> Result<()> {
        // By value: what a case holds goes with it.
        for case in std::mem::take(&mut self.cases) {
            for &variant in case.op.variants().iter().filter(|variant| self.wants(variant)) {
                for device in devices.iter().filter(|device| runs_on(device, variant)) {
                    on_row(Row {
                        kind: Kind::Reference,
                        relation: "f64 reference",
                        op: case.op.name(),
                        variant,
                        shape: case.shape(),
                        checks: device.checks(),
                        outcome: run(device, &case, variant)?,
                    });
                }
            }
        }
        for relation in &self.relations {
            for device in devices.iter().filter(|device| runs_on(device, relation.variant)) {
                on_row(Row {
                    kind: relation.kind,
                    relation: relation.name,
                    op: relation.op,
                    variant: relation.variant,
                    shape: relation.shape.clone(),
                    checks: device.checks(),
                    outcome: relation.run(device)?,
                });
            }
        }
        Ok(())
    }
}
