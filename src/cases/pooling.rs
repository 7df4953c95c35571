//! Pooling: overlapping windows, windows with gaps between them, ties.

use super::bound::{DIVISION, exact, products, sums};
use super::convolution::{DILATIONS, KERNELS, PADDINGS, STRIDES, input_size};
use super::pairwise::pairwise;
use super::{Block, Case, Sizes, Style, Timed, evaluate};
use crate::error::Result;
use crate::geometry::{Pool2d, Window, product};
use crate::gpu::StepRow;
use crate::ops::avg_pool2d::{AvgPool2dBackward, AvgPool2dForward};
use crate::ops::global_avg_pool2d::{GlobalAvgPool2dBackward, GlobalAvgPool2dForward};
use crate::ops::max_pool2d::{MaxPool2dBackward, MaxPool2dForward};

const TIMED: &[&str] = &["planes=24,height=28,width=28,kernel_size=2,stride=2"];
/// The wide network's first pooling at batch 32 as well.
const TIMED_MAX: &[&str] =
    &["planes=24,height=28,width=28,kernel_size=2,stride=2", "planes=1600,height=28,width=28,kernel_size=2,stride=2"];
const TIMED_GLOBAL: &[&str] = &["planes=400,size=49"];

pub(super) const BLOCK: Block = Block {
    cases,
    timed: &[
        Timed {
            op: "max_pool2d_forward",
            defaults: TIMED_MAX,
            build: |sizes| Ok(max_forward(sized(sizes)?, false, Style::Uniform)),
        },
        Timed {
            op: "relu_max_pool2d_forward",
            defaults: TIMED_MAX,
            build: |sizes| Ok(max_forward(sized(sizes)?, true, Style::Uniform)),
        },
        Timed {
            op: "max_pool2d_backward",
            defaults: TIMED_MAX,
            build: |sizes| {
                let shape = sized(sizes)?;
                Ok(max_backward(shape, Style::Uniform, winner(&shape, false, 0)))
            },
        },
        Timed {
            op: "avg_pool2d_forward",
            defaults: TIMED,
            build: |sizes| Ok(avg_forward(sized(sizes)?, Style::Uniform)),
        },
        Timed {
            op: "avg_pool2d_backward",
            defaults: TIMED,
            build: |sizes| Ok(avg_backward(sized(sizes)?, Style::Uniform)),
        },
        Timed {
            op: "global_avg_pool2d_forward",
            defaults: TIMED_GLOBAL,
            build: |sizes| Ok(global_forward(sizes.get("planes")?, sizes.get("size")?, Style::Uniform)),
        },
        Timed {
            op: "global_avg_pool2d_backward",
            defaults: TIMED_GLOBAL,
            build: |sizes| Ok(global_backward(sizes.get("planes")?, sizes.get("size")?, Style::Uniform)),
        },
    ],
};

fn sized(sizes: &Sizes<'_>) -> Result<Pool2d> {
    let (planes, input) = (sizes.get("planes")?, [sizes.get("height")?, sizes.get("width")?]);
    let shape = Pool2d::new(planes, input, sizes.window()?).map_err(|error| sizes.refusal(error))?;
    // Before a backward's winners are made from it.
    sizes.affordable("input", shape.input_len())?;
    Ok(shape)
}

fn taps(shape: &Pool2d) -> u64 {
    product(&shape.window.kernel_size) as u64
}

fn max_forward(shape: Pool2d, relu: bool, style: Style) -> Case {
    Case::new(MaxPool2dForward { shape, relu }, style, exact())
}

fn max_backward(shape: Pool2d, style: Style, winner: Vec<u32>) -> Case {
    Case::new(MaxPool2dBackward(shape), style, products(style, taps(&shape))).given("winner", winner)
}

fn avg_forward(shape: Pool2d, style: Style) -> Case {
    Case::new(AvgPool2dForward(shape), style, sums(taps(&shape) + DIVISION))
}

fn avg_backward(shape: Pool2d, style: Style) -> Case {
    Case::new(AvgPool2dBackward(shape), style, sums(taps(&shape) + DIVISION))
}

fn global_forward(planes: u32, size: u32, style: Style) -> Case {
    Case::new(GlobalAvgPool2dForward { planes, size }, style, sums(u64::from(size) + DIVISION))
}

fn global_backward(planes: u32, size: u32, style: Style) -> Case {
    Case::new(GlobalAvgPool2dBackward { planes, size }, style, sums(DIVISION))
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, shape) in shapes(&DILATIONS).into_iter().enumerate() {
        // No subnormals: a driver that flushes them sees ties where the reference sees none.
        let style = [Style::Uniform, Style::Outliers][index % 2];
        for relu in [false, true] {
            cases.extend([max_forward(shape, relu, style), max_forward(shape, relu, Style::Integers)]);
        }
        let winner = winner(&shape, index % 2 == 1, index as u64);
        cases.push(max_backward(shape, Style::rounded(index), winner.clone()));
        cases.push(max_backward(shape, Style::Integers, winner));
    }
    for (index, shape) in shapes(&DILATIONS[..1]).into_iter().enumerate() {
        let style = Style::rounded(index);
        cases.extend([avg_forward(shape, style), avg_backward(shape, style)]);
    }
    let mut planes: Vec<[u32; 2]> = pairwise([4, 7])
        .into_iter()
        .map(|[planes, size]| [[1, 3, 64, 65][planes], [1, 2, 49, 63, 64, 65, 121][size]])
        .collect();
    // One slice, one more element, a short last slice.
    planes.extend([[3, 4096], [5, 4097], [2, 9001]]);
    for (index, [planes, size]) in planes.into_iter().enumerate() {
        let style = Style::rounded(index);
        cases.extend([global_forward(planes, size, style), global_backward(planes, size, style)]);
    }
    cases
}

/// Where the maxima of an input full of ties are, those after a ReLU partly nowhere.
pub(super) fn winner(shape: &Pool2d, relu: bool, seed: u64) -> Vec<u32> {
    let inputs = [Style::Integers.bits(shape.input_len(), seed, 0), Vec::new(), Vec::new()];
    let step = StepRow { step: 1, epoch: 1, order_offset: 0, count: 1, slot: 0, learning_rate: 0.0 };
    let [_, _, argmax] = &evaluate(&MaxPool2dForward { shape: *shape, relu }, &step, &inputs, |value| value)[..] else {
        unreachable!("max pooling has three operands")
    };
    argmax.iter().map(|&index| index as u32).collect()
}

fn shapes(dilations: &[[u32; 2]]) -> Vec<Pool2d> {
    const PLANES: [u32; 4] = [1, 3, 8, 65];
    const HEIGHTS: [u32; 3] = [1, 2, 5];
    const WIDTHS: [u32; 4] = [1, 3, 4, 7];
    let swept = pairwise([4, 3, 4, KERNELS.len(), STRIDES.len(), PADDINGS.len(), dilations.len(), 3]);
    let mut shapes: Vec<Pool2d> = swept
        .into_iter()
        .map(|[planes, height, width, kernel_size, stride, padding, dilation, unused]| {
            let (kernel_size, padding) = (KERNELS[kernel_size], PADDINGS[padding]);
            let most = kernel_size.map(|size| size / 2);
            let padding = [padding[0].min(most[0]), padding[1].min(most[1])];
            let window = Window { kernel_size, stride: STRIDES[stride], padding, dilation: dilations[dilation] };
            let pool = |window: Window| {
                let input = input_size(&window, [HEIGHTS[height], WIDTHS[width]], unused as u32);
                Pool2d::new(PLANES[planes], input, window)
            };
            // A dilated window may hold only padding, which is refused; without dilation it never does.
            match pool(window).or_else(|_| pool(window.dilation(1))) {
                Ok(shape) => shape,
                Err(error) => unreachable!("{window:?}: {error}"),
            }
        })
        .collect();
    for (planes, input, window) in [
        // The tutorial's two, and its planes at one window each.
        (4 * 6, [28, 28], Window::square(2).stride(2)),
        (4 * 16, [10, 10], Window::square(2).stride(2)),
        (4 * 16, [2, 2], Window::square(2).stride(2)),
        // A last row and a last column that no window reaches.
        (3, [5, 6], Window::square(2).stride(2)),
        (5, [3, 4], Window::square(2).stride(2)),
        (2, [6, 5], Window::square(2).stride(2)),
        // Overlapping windows, as in AlexNet and ResNet.
        (3, [13, 13], Window::square(3).stride(2)),
        (3, [14, 15], Window::square(3).stride(2).padding(1)),
        (2, [9, 9], Window::square(5)),
    ] {
        match Pool2d::new(planes, input, window) {
            Ok(shape) => shapes.push(shape),
            Err(error) => unreachable!("{window:?} over {input:?}: {error}"),
        }
    }
    shapes
}
