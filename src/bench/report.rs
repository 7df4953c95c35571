//! What a bench found, for people and for machines.

use serde_json::{Value, json};

use super::ceilings::{Bound, Ceilings};
use super::measure::{Contender, Measured, Outcome};
use crate::cases::Case;
use crate::gpu::{AdapterInfo, Checks};

/// A kernel at a size.
#[derive(Clone, Debug)]
pub struct Row {
    pub op: String,
    pub variant: String,
    pub shape: String,
    /// Floating-point operations of one execution, a multiply-add counted as two.
    pub flops: u64,
    /// Bytes that one execution has to move at least.
    pub bytes: u64,
    pub is_ours: bool,
    pub outcome: Outcome,
}

impl Row {
    pub fn new(case: &Case, contender: &Contender, outcome: Outcome) -> Self {
        Self {
            op: case.op.name().into(),
            variant: contender.label.clone(),
            shape: case.op.shape(),
            flops: case.op.flops(),
            bytes: case.op.bytes(),
            is_ours: contender.is_ours,
            outcome,
        }
    }

    /// Operations a byte.
    pub fn intensity(&self) -> f64 {
        self.flops as f64 / self.bytes as f64
    }

    /// 10⁹ operations a second.
    pub fn gflops(&self, measured: &Measured) -> f64 {
        self.flops as f64 / measured.time.median * 1e-9
    }

    /// 10⁹ bytes a second, of those that have to move.
    pub fn gbps(&self, measured: &Measured) -> f64 {
        self.bytes as f64 / measured.time.median * 1e-9
    }

    /// The least time that the ceilings allow as a share of the time it takes. Above 100 where the caches hold what it moves.
    pub fn percent_of_roofline(&self, measured: &Measured, ceilings: &Ceilings) -> f64 {
        100.0 * ceilings.least_seconds(self.flops, self.bytes) / measured.time.median
    }

    pub fn bound(&self, measured: &Measured, ceilings: &Ceilings) -> Bound {
        ceilings.bound(self.flops, self.bytes, measured.time.median)
    }
}

/// Everything that one bench found.
#[derive(Clone, Debug)]
pub struct Report {
    pub adapter: AdapterInfo,
    pub checks: Checks,
    pub ceilings: Ceilings,
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether a kernel ran with wgpu's bounds checks and loop guards.
    pub fn is_checked(&self, row: &Row) -> bool {
        self.checks == Checks::Checked || !row.is_ours
    }

    /// The contract's keys, and more.
    pub fn to_json(&self) -> Value {
        let info = &self.adapter;
        let cases: Vec<Value> = self.rows.iter().map(|row| self.case(row)).collect();
        json!({
            "adapter": {
                "name": info.name, "driver": info.driver, "backend": info.backend, "type": info.kind.name(),
            },
            "checked": self.checks == Checks::Checked,
            "peak": {
                "fma_gflops": self.ceilings.fma_gflops,
                "copy_gbps": self.ceilings.copy_gbps,
                "dispatch_us": self.ceilings.dispatch_us,
            },
            "cases": cases,
        })
    }

    fn case(&self, row: &Row) -> Value {
        let Row { op, variant, shape, flops, bytes, outcome, .. } = row;
        let mut value = json!({ "op": op, "variant": variant, "shape": shape, "flops": flops, "bytes": bytes,
            "checked": self.is_checked(row) });
        let more = match outcome {
            Err(failure) => json!({ "verified": false, "failure": failure }),
            Ok(measured) => json!({
                "median_us": 1e6 * measured.time.median,
                "p5_us": 1e6 * measured.time.p5,
                "p95_us": 1e6 * measured.time.p95,
                "median_interval_us": measured.time.median_interval.map(|seconds| 1e6 * seconds),
                "runs": measured.time.runs,
                "executions_per_run": measured.executions,
                "rotated_bytes": measured.rotated_bytes,
                "gflops": row.gflops(measured),
                "gbps": row.gbps(measured),
                "percent_of_roofline": row.percent_of_roofline(measured, &self.ceilings),
                "bound_by": row.bound(measured, &self.ceilings).name(),
                "timing": measured.timing.name(),
                "verified": true,
            }),
        };
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more);
        }
        value
    }
}
