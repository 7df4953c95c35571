//! What `check` has found, as tables and as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shadegrad::check::{Kind, Row, Worst};
use shadegrad::gpu::{Adapter, Checks};

use crate::cli::print::say;
use crate::cli::table::{Align, lines};

/// Failures that are printed in full.
const SHOWN: usize = 20;

/// Rows of one op and variant, or of one relation.
#[derive(Default)]
struct Tally {
    rows: usize,
    failed: usize,
    worst: f64,
    max_ulp: u64,
    ops: Vec<&'static str>,
}

impl Tally {
    fn add(&mut self, row: &Row) {
        self.rows += 1;
        self.failed += usize::from(!row.passes());
        self.worst = self.worst.max(row.outcome.error_of_bound);
        self.max_ulp = self.max_ulp.max(row.outcome.max_ulp);
        if !self.ops.contains(&row.op) {
            self.ops.push(row.op);
        }
    }

    fn verdict(&self) -> String {
        if self.failed == 0 { "pass".into() } else { format!("FAIL ({} of {})", self.failed, self.rows) }
    }
}

/// A line for each op and variant, then one for each relation between results.
pub fn table(rows: &[Row]) {
    let mut cases: BTreeMap<(&str, &str), Tally> = BTreeMap::new();
    let mut relations: BTreeMap<(Kind, &str), Tally> = BTreeMap::new();
    for row in rows {
        match row.kind {
            Kind::Reference => cases.entry((row.op, row.variant)).or_default().add(row),
            kind => relations.entry((kind, row.relation)).or_default().add(row),
        }
    }
    let heading = |cells: &[&str]| cells.iter().map(|cell| cell.to_string()).collect::<Vec<_>>();
    if !cases.is_empty() {
        let mut table = vec![heading(&["op", "variant", "runs", "worst share of bound", "max ULP", "verdict"])];
        table.extend(cases.iter().map(|((op, variant), tally)| {
            let (runs, worst) = (tally.rows.to_string(), share(tally.worst));
            vec![op.to_string(), variant.to_string(), runs, worst, tally.max_ulp.to_string(), tally.verdict()]
        }));
        let unchecked = rows.iter().any(|row| row.checks == Checks::Unchecked);
        let modes = if unchecked { "each case with bounds checks and without" } else { "with bounds checks" };
        say(format!("against the f64 reference, {modes}"));
        lines(&[Align::Left, Align::Left, Align::Right, Align::Right, Align::Right, Align::Left], &table)
            .iter()
            .for_each(say);
        say(
            "max ULP counts representable numbers: many where a sum cancels or the driver flushes subnormals to 0; the bound decides",
        );
    }
    if !relations.is_empty() {
        let mut table = vec![heading(&["relation", "ops", "runs", "worst share of bound", "verdict"])];
        table.extend(relations.iter().map(|((_, name), tally)| {
            let (ops, runs) = (tally.ops.len().to_string(), tally.rows.to_string());
            vec![name.to_string(), ops, runs, share(tally.worst), tally.verdict()]
        }));
        say("\nbetween results");
        lines(&[Align::Left, Align::Right, Align::Right, Align::Right, Align::Left], &table).iter().for_each(say);
    }
}

fn share(share: f64) -> String {
    match share {
        0.0 => "exact".into(),
        s if s.is_infinite() => "no bound holds".into(),
        s if (0.001..1000.0).contains(&s) => format!("{s:.3}"),
        s => format!("{s:.1e}"),
    }
}

/// What is wrong, and where.
pub fn failures(rows: &[Row]) {
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.passes()).collect();
    for row in failed.iter().take(SHOWN) {
        let Row { op, variant, relation, shape, .. } = row;
        say(format!("\nFAIL {op} {variant} {} · {relation}", mode(row.checks)));
        say(format!("   shape: {shape}"));
        let failure = row.outcome.failure.as_deref().unwrap_or_default();
        say(format!("   {failure}"));
        // A write outside the output or an input overwritten says nothing of the numbers; else the two are the same element.
        let named = |worst: &Worst| failure.starts_with(&format!("{}[{}] is ", worst.operand, worst.index));
        if let Some(worst) = row.outcome.worst.as_ref().filter(|worst| !named(worst)) {
            say(format!(
                "   worst: {}[{}] actual {:e}, expected {:e}, bound {:e}",
                worst.operand, worst.index, worst.actual, worst.expected, worst.bound
            ));
        }
    }
    if failed.len() > SHOWN {
        say(format!("\n… and {} more; --json has them all", failed.len() - SHOWN));
    }
    if !failed.is_empty() {
        say("");
    }
}

fn mode(checks: Checks) -> &'static str {
    match checks {
        Checks::Checked => "checked",
        Checks::Unchecked => "unchecked",
    }
}

/// Numbers that JSON cannot hold, NaN and infinities, become null; `failure` has them in words.
pub fn as_json(adapter: &Adapter, rows: &[Row]) -> Value {
    let cases = rows.iter().map(|row| {
        let worst = row.outcome.worst.as_ref().map(|worst| {
            json!({
                "operand": worst.operand,
                "index": worst.index,
                "actual": worst.actual,
                "expected": worst.expected,
                "bound": worst.bound,
            })
        });
        json!({
            "kind": row.kind.name(),
            "relation": row.relation,
            "op": row.op,
            "variant": row.variant,
            "shape": row.shape,
            "mode": mode(row.checks),
            "error_of_bound": row.outcome.error_of_bound,
            "max_ulp": row.outcome.max_ulp,
            "pass": row.passes(),
            "worst": worst,
            "failure": row.outcome.failure,
        })
    });
    let failed = rows.iter().filter(|row| !row.passes()).count();
    json!({
        "adapter": adapter_json(adapter),
        "cases": cases.collect::<Vec<_>>(),
        "passed": rows.len() - failed,
        "failed": failed,
    })
}

pub fn adapter_json(adapter: &Adapter) -> Value {
    let info = &adapter.info;
    json!({
        "index": info.index,
        "name": info.name,
        "backend": info.backend,
        "type": info.kind.name(),
        "driver": info.driver,
    })
}
