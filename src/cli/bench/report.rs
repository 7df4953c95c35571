//! What a bench found, for a person.

use shadegrad::bench::{Baseline, Bound, Change, Report, Verdict};

use crate::cli::print::{number, range, say, time, warn};
use crate::cli::table::{Align, lines};

/// A spread from p5 to p95 of more than this share of the median says that something else was running.
const BUSY_SPREAD: f64 = 0.2;

/// A line a kernel.
pub fn table(report: &Report) -> Vec<String> {
    let heading = [
        "op", "variant", "shape", "median", "p5–p95", "runs", "GFLOP/s", "GB/s", "roofline", "bound by", "timing",
        "checks",
    ];
    let mut rows = vec![heading.map(String::from).to_vec()];
    for row in &report.rows {
        let mut cells = vec![row.op.clone(), row.variant.clone(), row.shape.clone()];
        match &row.outcome {
            Ok(measured) => cells.extend([
                time(measured.time.median),
                range(&measured.time),
                measured.time.runs.to_string(),
                number(row.gflops(measured)),
                number(row.gbps(measured)),
                format!("{:.0} %", row.percent_of_roofline(measured, &report.ceilings)),
                row.bound(measured, &report.ceilings).name().into(),
                measured.timing.name().into(),
                if report.is_checked(row) { "checked" } else { "unchecked" }.into(),
            ]),
            Err(_) => cells.push("FAILED".into()),
        }
        rows.push(cells);
    }
    let mut alignment = [Align::Right; 12];
    for column in [0, 1, 2, 9, 10, 11] {
        alignment[column] = Align::Left;
    }
    lines(&alignment, &rows)
}

/// What is wrong with those that got no time.
pub fn failures(report: &Report) {
    for row in &report.rows {
        if let Err(failure) = &row.outcome {
            say(format!("FAILED {} {} {}: {failure}", row.op, row.variant, row.shape));
        }
    }
}

/// The fastest kernel of each shape, and how many times as fast as the others it is.
pub fn side_by_side(report: &Report) {
    for rows in report.rows.chunk_by(|a, b| (&a.op, &a.shape) == (&b.op, &b.shape)) {
        let mut timed: Vec<_> = rows.iter().filter_map(|row| Some((row, row.outcome.as_ref().ok()?))).collect();
        timed.sort_by(|(_, a), (_, b)| a.time.median.total_cmp(&b.time.median));
        let Some(((fastest, best), others)) = timed.split_first() else { continue };
        say(format!("\n{} {}: {} is the fastest", fastest.op, fastest.shape, fastest.variant));
        for (row, measured) in others {
            let (ratio, [low, high]) = measured.time.ratio(&best.time);
            let doubt = if low <= 1.0 { ", which may be noise" } else { "" };
            say(format!("  {ratio:.2} times as fast as {} (95 %: {low:.2}–{high:.2}{doubt})", row.variant));
        }
    }
}

/// In the manner of hyperfine: what was seen, what it may mean, what to try.
pub fn busy(report: &Report) {
    let timed = report.rows.iter().filter_map(|row| Some((row, row.outcome.as_ref().ok()?)));
    let timed: Vec<_> = timed.collect();
    let launched = timed.iter().filter(|(row, measured)| row.bound(measured, &report.ceilings) == Bound::Dispatch);
    let launched = launched.count();
    if launched > 0 {
        say(format!(
            "\n{launched} of {} kernels take less time than a few empty dispatches: their times are the driver's as much as their own, and vary \
             with it",
            timed.len()
        ));
    }
    let wide = timed.iter().filter(|(_, measured)| measured.time.spread() > BUSY_SPREAD);
    let widest = wide.clone().max_by(|(_, a), (_, b)| a.time.spread().total_cmp(&b.time.spread()));
    if let Some((row, measured)) = widest {
        warn(format!(
            "the times of {} of {} kernels spread over more than {:.0} % of their median ({} {} {}: {:.0} %): the machine was busy, or its \
             clock changed. Repeat on a quiet one before you trust small differences.",
            wide.count(),
            timed.len(),
            100.0 * BUSY_SPREAD,
            row.op,
            row.variant,
            row.shape,
            100.0 * measured.time.spread()
        ));
    }
}

/// Prints what changed beyond noise; returns the number of regressions.
pub fn compare(baseline: &Baseline, report: &Report, tolerance: f64, quiet: bool) -> usize {
    if let Some(mismatch) = baseline.mismatch(report) {
        warn(mismatch);
    }
    let changes = baseline.compare(&report.rows, tolerance / 100.0);
    let regressions = changes.iter().filter(|change| change.verdict == Verdict::Regression).count();
    if quiet {
        return regressions;
    }
    let beyond: Vec<&Change> = changes.iter().filter(|change| change.verdict != Verdict::Noise).collect();
    say(format!(
        "\nagainst the baseline: {} of {} kernels changed beyond noise (the 95 % intervals of the two medians do not overlap)",
        beyond.len(),
        changes.len()
    ));
    let mut rows = vec![["op", "variant", "shape", "time", "interval", ""].map(String::from).to_vec()];
    for change in beyond {
        let (ratio, interval) = match change.ratio {
            Some((ratio, [low, high])) => (format!("×{ratio:.2}"), format!("{low:.2}–{high:.2}")),
            None => ("FAILED".into(), String::new()),
        };
        let verdict = match change.verdict {
            Verdict::Noise | Verdict::Slower => "",
            Verdict::Faster => "faster",
            Verdict::Regression => "REGRESSION",
        };
        rows.push(vec![
            change.op.clone(),
            change.variant.clone(),
            change.shape.clone(),
            ratio,
            interval,
            verdict.into(),
        ]);
    }
    if rows.len() > 1 {
        let alignment = [Align::Left, Align::Left, Align::Left, Align::Right, Align::Right, Align::Left];
        lines(&alignment, &rows).iter().for_each(say);
    }
    regressions
}
