//! The filters of the first convolution as pictures.

use super::sprite::png_url;
use crate::error::Result;
use crate::train::checkpoint::NamedTensor;

/// Filters shown at most.
const MAX_FILTERS: usize = 256;

/// The pictures, as data URLs; none unless the first weights (out_channels, in_channels, height, width) are a convolution's over a
/// grey or an RGB image. Zero is mid-grey, and each filter is scaled to its own largest weight.
///
/// # Errors
/// What the encoder refuses.
pub fn pictures(parameters: &[NamedTensor], channels: u32) -> Result<Vec<String>> {
    let Some(NamedTensor { shape, values, .. }) = parameters.first() else { return Ok(Vec::new()) };
    let &[_, in_channels, height, width] = shape.as_slice() else { return Ok(Vec::new()) };
    if in_channels != channels || ![1, 3].contains(&channels) {
        return Ok(Vec::new());
    }
    let plane = (height * width) as usize;
    let filters = values.chunks_exact((plane * channels as usize).max(1)).take(MAX_FILTERS);
    let picture = |filter: &[f32]| {
        let largest = filter.iter().fold(0f32, |largest, value| largest.max(value.abs())).max(f32::MIN_POSITIVE);
        let byte = |value: f32| (127.5 + 127.5 * value / largest).round() as u8;
        let pixels = (0..plane).flat_map(|at| filter.chunks_exact(plane).map(move |channel| byte(channel[at])));
        png_url(pixels.collect(), width, height, channels)
    };
    filters.map(picture).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn zero_is_grey_and_the_largest_weight_is_white_or_black() {
        let values = vec![0.0, 0.5, -0.25, 0.0, 0.0, 0.0, 0.0, -8.0];
        let weight = NamedTensor { name: "conv1.weight".into(), shape: vec![2, 1, 2, 2], values };
        let pictures = pictures(std::slice::from_ref(&weight), 1).unwrap();
        let pixels: Vec<Vec<u8>> = pictures
            .iter()
            .map(|url| {
                let png = BASE64_STANDARD.decode(url.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
                image::load_from_memory(&png).unwrap().into_luma8().into_raw()
            })
            .collect();
        assert_eq!(pixels, [[128, 255, 64, 128], [128, 128, 128, 0]]);
        assert!(super::pictures(&[weight], 3).unwrap().is_empty());
    }
}
