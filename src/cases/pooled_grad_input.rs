//! The gradient of what a convolution or a linear layer takes, through the pooling before it: the sums of the one, to the places of the
//! other. What goes nowhere, and the rest of each window, is exactly 0.

use super::bound::products;
use super::pooling::winner;
use super::{Block, Case, Sizes, Style, Timed};
use crate::error::Result;
use crate::geometry::{Conv2d, Linear, Pool2d, Window, product};
use crate::ops::pooled_grad_input::{Conv2dGradInputMaxPool2d, LinearGradInputMaxPool2d};

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[
        Timed {
            op: "conv2d_grad_input_max_pool2d",
            defaults: &[
                "batch=4,in_channels=6,out_channels=16,height=14,width=14,kernel_size=5",
                "batch=4,in_channels=50,out_channels=100,height=14,width=14,kernel_size=5",
            ],
            build: |sizes| {
                let (batch, in_channels) = (sizes.get("batch")?, sizes.get("in_channels")?);
                let (out_channels, input) = (sizes.get("out_channels")?, [sizes.get("height")?, sizes.get("width")?]);
                let shape = Conv2d::new(batch, in_channels, out_channels, input, sizes.window()?)
                    .map_err(|error| sizes.refusal(error))?;
                conv(shape, Style::Uniform, 0)
                    .ok_or_else(|| sizes.refusal("needs stride 1, and sums that one invocation can add"))
            },
        },
        Timed {
            op: "linear_grad_input_max_pool2d",
            defaults: &[
                "batch=4,channels=16,height=5,width=5,out_features=120",
                "batch=128,channels=16,height=5,width=5,out_features=120",
            ],
            build: |sizes| {
                let planes = planes(sizes)?;
                linear(planes, sizes.get("out_features")?, Style::Uniform, 0)
                    .ok_or_else(|| sizes.refusal("needs sums that one invocation can add"))
            },
        },
    ],
};

/// Batch, channels, height and width of what the pooling makes.
type Planes = [u32; 4];

fn planes(sizes: &Sizes<'_>) -> Result<Planes> {
    Ok([sizes.get("batch")?, sizes.get("channels")?, sizes.get("height")?, sizes.get("width")?])
}

fn pool([batch, channels, height, width]: Planes) -> Option<Pool2d> {
    let planes = batch.checked_mul(channels)?;
    Pool2d::new(planes, [height.checked_mul(2)?, width.checked_mul(2)?], Window::square(2).stride(2)).ok()
}

fn conv(shape: Conv2d, style: Style, seed: u64) -> Option<Case> {
    let pool = pool([shape.batch, shape.in_channels, shape.input[0], shape.input[1]])?;
    let [height, width] = shape.window.kernel_size;
    let terms = product(&[shape.out_channels, height, width]) as u64;
    let case = Case::new(Conv2dGradInputMaxPool2d::new(shape, pool)?, style, products(style, terms));
    Some(case.given("winner", winner(&pool, seed.is_multiple_of(2), seed)))
}

fn linear(planes: Planes, out_features: u32, style: Style, seed: u64) -> Option<Case> {
    let pool = pool(planes)?;
    let [batch, channels, height, width] = planes;
    let in_features = channels.checked_mul(height)?.checked_mul(width)?;
    let op = LinearGradInputMaxPool2d::new(Linear { batch, in_features, out_features }, pool)?;
    let case = Case::new(op, style, products(style, out_features.into()));
    Some(case.given("winner", winner(&pool, seed.is_multiple_of(2), seed)))
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let odd = Window { padding: [1, 0], dilation: [2, 1], ..Window::square(2) };
    let convolutions = [
        // The tutorial's second layer and the wide network's, which are whole rows; then rows of several tiles, padding, odd widths, a dilation.
        (4, 6, 16, [14, 14], Window::square(5)),
        (1, 50, 100, [14, 14], Window::square(5)),
        (2, 3, 4, [4, 18], Window::square(3).padding(1)),
        (3, 9, 2, [5, 6], Window::square(3).padding(2)),
        (2, 17, 3, [3, 24], Window::square(2)),
        (1, 2, 5, [6, 7], Window::square(3)),
        (5, 1, 1, [1, 1], Window::square(1)),
        (2, 4, 3, [6, 9], odd),
    ];
    let linears = [
        ([4, 16, 5, 5], 120),
        ([3, 16, 5, 5], 84),
        ([1, 1, 1, 1], 3),
        ([5, 4, 3, 1], 7),
        ([9, 3, 2, 6], 8),
        ([2, 5, 1, 7], 33),
        ([8, 1, 9, 4], 10),
        // So many rows that each lane of a subgroup holds two.
        ([501, 1, 2, 4], 3),
        ([509, 3, 2, 2], 9),
        // Tiles on subgroups, then in workgroup memory: of 32, 64 and 128.
        ([20, 9, 2, 2], 44),
        ([68, 3, 3, 4], 28),
        ([17, 5, 3, 2], 33),
        ([65, 512, 2, 4], 9),
    ];
    for style in [Style::Uniform, Style::Integers] {
        for (index, (batch, in_channels, out_channels, input, window)) in convolutions.into_iter().enumerate() {
            let shape = Conv2d::new(batch, in_channels, out_channels, input, window).ok();
            cases.extend(shape.and_then(|shape| conv(shape, style, index as u64)));
        }
        for (index, (planes, out_features)) in linears.into_iter().enumerate() {
            cases.extend(linear(planes, out_features, style, index as u64));
        }
    }
    assert_eq!(cases.len(), 2 * (convolutions.len() + linears.len()), "a shape that the ops refuse");
    cases
}
