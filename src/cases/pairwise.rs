//! A small set of combinations in which every two levels of every two factors meet: most mistakes need no more than two.

use std::collections::BTreeSet;

/// Rows of levels, one for each factor of `levels` many. Greedy and always the same.
pub fn pairwise<const N: usize>(levels: [usize; N]) -> Vec<[usize; N]> {
    let pairs = (0..N).flat_map(|b| (0..b).map(move |a| (a, b)));
    let mut missing: BTreeSet<[usize; 4]> =
        pairs.flat_map(|(a, b)| (0..levels[a]).flat_map(move |x| (0..levels[b]).map(move |y| [a, x, b, y]))).collect();
    let mut rows = Vec::new();
    while let Some(&[a, x, b, y]) = missing.first() {
        let mut chosen = [None; N];
        (chosen[a], chosen[b]) = (Some(x), Some(y));
        for factor in 0..N {
            if chosen[factor].is_some() {
                continue;
            }
            let gain = |level: usize| {
                let others = chosen.iter().enumerate().filter_map(|(other, chosen)| Some((other, (*chosen)?)));
                others.filter(|&(other, at)| missing.contains(&pair(factor, level, other, at))).count()
            };
            // Equal gains are spread over the levels by starting at another one in each row.
            let start = rows.len();
            let turned = (0..levels[factor]).map(|level| (level + start) % levels[factor]);
            chosen[factor] = turned.max_by_key(|&level| gain(level));
        }
        let row = chosen.map(Option::unwrap_or_default);
        for b in 0..N {
            for a in 0..b {
                missing.remove(&pair(a, row[a], b, row[b]));
            }
        }
        rows.push(row);
    }
    rows
}

fn pair(a: usize, x: usize, b: usize, y: usize) -> [usize; 4] {
    if a < b { [a, x, b, y] } else { [b, y, a, x] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_meets_in_few_rows() {
        let levels = [3, 4, 5, 2, 6];
        let rows = pairwise(levels);
        for (b, &many_b) in levels.iter().enumerate() {
            for (a, &many_a) in levels[..b].iter().enumerate() {
                let met: BTreeSet<_> = rows.iter().map(|row| (row[a], row[b])).collect();
                assert_eq!(met.len(), many_a * many_b);
            }
        }
        assert!(rows.len() <= 40, "{} rows", rows.len());
    }
}
