//! Philox4x32-10, a counter-based generator: four random words from a counter and a key, and no state between them.

/// What words are drawn for: the last word of the counter, so that no two purposes share one.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Augmentation; the counter begins with the image, the epoch and the number of the draw.
    Augment = 1,
    /// Dropout's masks; the counter begins with a quarter of the element's place, the layer and the step.
    Dropout = 2,
}

/// Four words that depend on the counter and the key alone; every bit is uniform and independent of the others for all practical
/// purposes.
///
/// Source: Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011; Random123's `philox4x32_R(10, …)`.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let wide = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        ((product >> 32) as u32, product as u32)
    };
    let (mut words, mut key) = (counter, key);
    for _ in 0..10 {
        let (high_0, low_0) = wide(0xd251_1f53, words[0]);
        let (high_1, low_1) = wide(0xcd9e_8d57, words[2]);
        words = [high_1 ^ words[1] ^ key[0], low_1, high_0 ^ words[3] ^ key[1], low_0];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    words
}

/// A seed as a key, the low word first.
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// A whole number in 0..bound from a random word; no number is more likely than another by more than bound / 2³².
pub fn below(word: u32, bound: u32) -> u32 {
    ((u64::from(word) * u64::from(bound)) >> 32) as u32
}

/// A multiple of 2⁻²⁴ in [0, 1) from a random word.
pub fn unit(word: u32) -> f64 {
    f64::from(word >> 8) / f64::from(1 << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that Random123 comes with, for philox4x32 with 10 rounds.
    #[test]
    fn the_known_answers() {
        let ones = u32::MAX;
        let answers = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([ones; 4], [ones; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, words) in answers {
            assert_eq!(philox(counter, key), words);
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        assert_eq!((below(0, 9), below(u32::MAX, 9), below(u32::MAX, 1)), (0, 8, 0));
        assert_eq!((unit(0), unit(u32::MAX)), (0.0, 1.0 - f64::from(f32::EPSILON) / 2.0));
        assert_eq!(key(0x0123_4567_89ab_cdef), [0x89ab_cdef, 0x0123_4567]);
    }
}
