//! Convolution: tiles are 4 channels × 4 columns, up to 16 × 14 as the shape asks for, or squares of 32 to 128 of products of matrices; workgroups
//! 32 invocations to 256, slices 512 to 4096 terms.

use super::bound::{Bound, products};
use super::pairwise::pairwise;
use super::{Block, Case, Sizes, Style, Timed, evaluate};
use crate::error::Result;
use crate::geometry::{Conv2d, Pool2d, Window, product};
use crate::ops::conv2d::{Conv2dForward, Conv2dGradInput, Conv2dGradWeight, Conv2dGradWeightBias};
use crate::ops::conv2d_pool::Conv2dReluMaxPool2dForward;

pub(super) const KERNELS: [[u32; 2]; 6] = [[1, 1], [2, 2], [3, 3], [5, 5], [1, 3], [5, 2]];
pub(super) const STRIDES: [[u32; 2]; 4] = [[1, 1], [2, 2], [3, 3], [1, 2]];
pub(super) const PADDINGS: [[u32; 2]; 4] = [[0, 0], [1, 1], [2, 2], [0, 2]];
pub(super) const DILATIONS: [[u32; 2]; 3] = [[1, 1], [2, 2], [2, 1]];

/// The input that gives `output`, with up to `unused` more rows and columns that no window reaches. Never empty: where padding alone
/// would do, one element, which is smaller than the kernel.
pub(super) fn input_size(window: &Window, output: [u32; 2], unused: u32) -> [u32; 2] {
    [0, 1].map(|axis| {
        let extent = window.dilation[axis] * (window.kernel_size[axis] - 1) + 1;
        let unused = unused.min(window.stride[axis] - 1);
        let padded = (output[axis] - 1) * window.stride[axis] + extent + unused;
        padded.saturating_sub(2 * window.padding[axis]).max(1)
    })
}

/// The tutorial's two layers at batch 4, and the wide network's second.
const TIMED: &[&str] = &[
    "batch=4,in_channels=3,out_channels=6,height=32,width=32,kernel_size=5",
    "batch=4,in_channels=6,out_channels=16,height=14,width=14,kernel_size=5",
    "batch=4,in_channels=50,out_channels=100,height=14,width=14,kernel_size=5",
];

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[
        Timed { op: "conv2d_forward", defaults: TIMED, build: |sizes| Ok(forward(sized(sizes)?, Style::Uniform)) },
        Timed {
            op: "conv2d_grad_input",
            defaults: TIMED,
            build: |sizes| Ok(grad_input(sized(sizes)?, Style::Uniform)),
        },
        Timed {
            op: "conv2d_grad_weight",
            defaults: TIMED,
            build: |sizes| Ok(grad_weight(sized(sizes)?, Style::Uniform)),
        },
        Timed {
            op: "conv2d_relu_max_pool2d_forward",
            defaults: TIMED,
            build: |sizes| {
                let shape = sized(sizes)?;
                conv_pool(shape, Style::Uniform).ok_or_else(|| {
                    sizes.refusal("needs stride 1, no dilation, a kernel 8 wide at most, and a window of output")
                })
            },
        },
        Timed {
            op: "conv2d_grad_weight_bias",
            defaults: TIMED,
            build: |sizes| Ok(grad_weight_bias(sized(sizes)?, Style::Uniform)),
        },
    ],
};

fn sized(sizes: &Sizes<'_>) -> Result<Conv2d> {
    let (batch, in_channels) = (sizes.get("batch")?, sizes.get("in_channels")?);
    let (out_channels, input) = (sizes.get("out_channels")?, [sizes.get("height")?, sizes.get("width")?]);
    Conv2d::new(batch, in_channels, out_channels, input, sizes.window()?).map_err(|error| sizes.refusal(error))
}

/// One product and its additions for each tap and input channel, and the bias.
fn forward(shape: Conv2d, style: Style) -> Case {
    let [height, width] = shape.window.kernel_size;
    let terms = product(&[shape.in_channels, height, width]) as u64;
    Case::new(Conv2dForward(shape), style, products(style, terms.saturating_add(1)))
}

fn grad_input(shape: Conv2d, style: Style) -> Case {
    let [height, width] = shape.window.kernel_size;
    let terms = product(&[shape.out_channels, height, width]) as u64;
    Case::new(Conv2dGradInput(shape), style, products(style, terms))
}

fn grad_weight(shape: Conv2d, style: Style) -> Case {
    let [height, width] = shape.output;
    let terms = product(&[shape.batch, height, width]) as u64;
    Case::new(Conv2dGradWeight(shape), style, products(style, terms))
}

fn grad_weight_bias(shape: Conv2d, style: Style) -> Case {
    let [height, width] = shape.output;
    let terms = product(&[shape.batch, height, width]) as u64;
    Case::new(Conv2dGradWeightBias(shape), style, products(style, terms))
}

/// The maxima are off by no more than the sums that they are of. Which is the maximum is certain where the others, or 0, are farther away than
/// rounding can move them.
fn conv_pool(conv: Conv2d, style: Style) -> Option<Case> {
    let pool = Pool2d::new(conv.batch * conv.out_channels, conv.output, Window::square(2).stride(2)).ok()?;
    let op = Conv2dReluMaxPool2dForward::new(conv, pool)?;
    let bound: Bound = Box::new(move |_, inputs, expected, factors| {
        let sums = forward(conv, style);
        let mut operands = inputs[..3].to_vec();
        operands.push(Vec::new());
        let values = evaluate(&*sums.op, &sums.step, &operands, |value| value).swap_remove(3);
        let bounds = (sums.bound)(&sums, &operands, &[Vec::new(), Vec::new(), Vec::new(), values.clone()], factors)
            .swap_remove(3);
        let width = conv.output[1] as usize;
        let windows = (0..pool.output_len()).map(|i| {
            let [height, columns] = pool.output.map(|size| size as usize);
            let (plane, y, x) = (i / (height * columns), i / columns % height, i % columns);
            let at = plane * conv.output[0] as usize * width + 2 * y * width + 2 * x;
            [at, at + 1, at + width, at + width + 1]
        });
        let (mut of_outputs, mut of_winners) = (Vec::new(), Vec::new());
        for (window, &maximum) in windows.zip(&expected[3]) {
            let widest = window.iter().map(|&at| bounds[at]).fold(0.0, f64::max);
            let near = |value: f64| widest > 0.0 && (maximum - value).abs() <= 2.0 * widest;
            let rivals = window.iter().filter(|&&at| near(values[at])).count();
            of_outputs.push(widest);
            of_winners.push(if rivals > 1 || near(0.0) { f64::INFINITY } else { 0.0 });
        }
        vec![Vec::new(), Vec::new(), Vec::new(), of_outputs, of_winners]
    });
    Some(Case::new(op, style, bound))
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, shape) in shapes().into_iter().enumerate() {
        for style in [Style::rounded(index), Style::Integers] {
            cases.extend([forward(shape, style), grad_input(shape, style), grad_weight(shape, style)]);
        }
        cases.extend([Style::rounded(index), Style::Integers].into_iter().filter_map(|style| conv_pool(shape, style)));
        // Much of it is grad_weight's: one style each.
        cases.push(grad_weight_bias(shape, [Style::rounded(index), Style::Integers][index % 2]));
    }
    // More than one of the largest tiles each way, each in several slices.
    let long = valid(4, 15, 130, [35, 33], Window::square(3));
    cases.extend([grad_weight(long, Style::Integers), grad_weight_bias(long, Style::Uniform)]);
    cases
}

/// Sizes that are written in this file.
fn valid(batch: u32, in_channels: u32, out_channels: u32, input: [u32; 2], window: Window) -> Conv2d {
    match Conv2d::new(batch, in_channels, out_channels, input, window) {
        Ok(shape) => shape,
        Err(error) => unreachable!("{window:?} over {input:?}: {error}"),
    }
}

fn shapes() -> Vec<Conv2d> {
    const BATCHES: [u32; 3] = [1, 2, 5];
    const IN_CHANNELS: [u32; 6] = [1, 3, 4, 5, 8, 9];
    const OUT_CHANNELS: [u32; 7] = [1, 3, 4, 5, 7, 8, 9];
    const HEIGHTS: [u32; 3] = [1, 2, 5];
    const WIDTHS: [u32; 5] = [1, 3, 4, 5, 9];
    let swept = pairwise([3, 6, 7, 3, 5, KERNELS.len(), STRIDES.len(), PADDINGS.len(), DILATIONS.len(), 3])
        .into_iter()
        .map(|[batch, in_channels, out_channels, height, width, kernel_size, stride, padding, dilation, unused]| {
            let window = Window {
                kernel_size: KERNELS[kernel_size],
                stride: STRIDES[stride],
                padding: PADDINGS[padding],
                dilation: DILATIONS[dilation],
            };
            let input = input_size(&window, [HEIGHTS[height], WIDTHS[width]], unused as u32);
            (BATCHES[batch], IN_CHANNELS[in_channels], OUT_CHANNELS[out_channels], input, window)
        });
    let one = Window::square(1);
    let special = [
        // The tutorial's two layers, and the wide network's second.
        (4, 3, 6, [32, 32], Window::square(5)),
        (4, 6, 16, [14, 14], Window::square(5)),
        (1, 50, 100, [14, 14], Window::square(5)),
        // Windows of an odd height and width, tiles of one pair and of two, kernels of one row and of one column.
        (2, 2, 9, [9, 8], Window::square(3)),
        (3, 1, 5, [6, 7], Window::square(2).padding(1)),
        (2, 2, 3, [6, 5], Window { padding: [0, 2], ..Window::square(3) }),
        (1, 2, 3, [5, 9], Window { kernel_size: [1, 4], ..Window::square(1) }),
        (2, 3, 2, [7, 5], Window { kernel_size: [4, 1], ..Window::square(1) }),
        // Columns that no tile divides.
        (1, 2, 3, [4, 19], Window::square(3)),
        // A workgroup less one, a full one and one more, of channels on either side.
        (1, 1, 63, [1, 1], one),
        (1, 64, 2, [1, 1], one),
        (1, 65, 65, [1, 1], one),
        (63, 1, 1, [1, 1], one),
        (65, 2, 1, [1, 1], one),
        // The longest sums for the most channels of a tile, forward and grad_input.
        (1, 122, 16, [6, 6], Window::square(5)),
        (1, 16, 122, [6, 6], Window::square(5)),
        // Sums of more than 4096 terms: forward, grad_input, grad_weight.
        (2, 460, 5, [4, 5], Window::square(3)),
        (2, 3, 460, [4, 5], Window::square(3).padding(1)),
        (5, 2, 3, [32, 32], Window::square(3)),
        // A row of more than half a slice, so that a slice is one row.
        (1, 1, 2, [3, 2100], Window::square(1)),
        // Strides that leave most of the input, and its edge, without a gradient.
        (2, 3, 5, [11, 13], Window::square(2).stride(5)),
        // Windows of nothing but padding: the output is the bias.
        (1, 2, 3, [1, 1], Window::square(1).padding(3)),
        // Products of more than one tile in workgroup memory each way, with everything that a window can have; slices of forward, grad_input
        // and grad_weight.
        (3, 33, 36, [11, 9], Window { kernel_size: [3, 2], stride: [2, 3], padding: [1, 2], dilation: [2, 1] }),
        (3, 120, 17, [6, 5], Window::square(3)),
        (3, 17, 120, [6, 5], Window::square(3)),
        (5, 17, 18, [14, 13], Window::square(3)),
        // The same of the largest tile, forward and grad_input.
        (2, 2, 130, [35, 34], Window::square(3)),
        (2, 130, 2, [33, 32], Window::square(3).padding(1)),
    ];
    let shape =
        |(batch, in_channels, out_channels, input, window)| valid(batch, in_channels, out_channels, input, window);
    swept.chain(paired()).chain(special).map(shape).collect()
}

/// Images of even widths, as networks have them: rows loaded in pairs, from the first column and from one before, whole rows in one tile and in
/// several, channels that one lane has and channels that one shares.
fn paired() -> impl Iterator<Item = (u32, u32, u32, [u32; 2], Window)> {
    const CHANNELS: [u32; 4] = [1, 8, 9, 17];
    const KERNEL_WIDTHS: [u32; 4] = [2, 3, 5, 8];
    const OUTPUTS: [u32; 4] = [2, 6, 14, 22];
    pairwise([2, 4, 4, 3, 4, 4, 3, 4]).into_iter().map(
        |[batch, inputs, outputs, height, width, kernel, tall, padding]| {
            let kernel_size = [[1, 2, 3][tall], KERNEL_WIDTHS[kernel]];
            let window = Window { kernel_size, padding: [tall as u32 / 2, padding as u32], ..Window::square(1) };
            let input = input_size(&window, [[1, 4, 5][height], OUTPUTS[width]], 0);
            ([1, 3][batch], CHANNELS[inputs], CHANNELS[outputs], input, window)
        },
    )
}
