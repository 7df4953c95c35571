//! Pure size arithmetic for convolution, pooling and matrix products. Sizes are checked in u64 so that nothing wraps.

use std::fmt;

/// A sliding window over height and width; every pair is `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub kernel_size: [u32; 2],
    pub stride: [u32; 2],
    pub padding: [u32; 2],
    pub dilation: [u32; 2],
}

impl Window {
    /// A square window with stride 1, no padding and no dilation.
    pub fn square(kernel_size: u32) -> Self {
        Self { kernel_size: [kernel_size; 2], stride: [1; 2], padding: [0; 2], dilation: [1; 2] }
    }

    pub fn stride(self, stride: u32) -> Self {
        Self { stride: [stride; 2], ..self }
    }

    pub fn padding(self, padding: u32) -> Self {
        Self { padding: [padding; 2], ..self }
    }

    pub fn dilation(self, dilation: u32) -> Self {
        Self { dilation: [dilation; 2], ..self }
    }

    /// Output height and width: floor((input + 2·padding − dilation·(kernel_size − 1) − 1) / stride) + 1.
    ///
    /// Source: PyTorch `nn.Conv2d`, `nn.MaxPool2d` with `ceil_mode=False`.
    pub fn output_size(&self, input: [u32; 2]) -> Result<[u32; 2], GeometryError> {
        let mut output = [0; 2];
        for axis in 0..2 {
            let name = ["height", "width"][axis];
            for (what, value) in [
                ("kernel_size", self.kernel_size[axis]),
                ("stride", self.stride[axis]),
                ("dilation", self.dilation[axis]),
            ] {
                if value == 0 {
                    return Err(GeometryError {
                        problem: format!("{what} is 0 along {name}"),
                        actual: "0".into(),
                        expected: "at least 1".into(),
                    });
                }
            }
            let extent = u64::from(self.dilation[axis]) * u64::from(self.kernel_size[axis] - 1) + 1;
            let padded = u64::from(input[axis]) + 2 * u64::from(self.padding[axis]);
            // The kernels place the window in u32.
            if padded > u64::from(u32::MAX) {
                return Err(GeometryError {
                    problem: format!("the padded input is too large along {name}"),
                    actual: padded.to_string(),
                    expected: format!("at most {}", u32::MAX),
                });
            }
            if padded < extent {
                return Err(GeometryError {
                    problem: format!("the padded input is smaller than the kernel along {name}"),
                    actual: padded.to_string(),
                    expected: format!("at least {extent}"),
                });
            }
            let size = (padded - extent) / u64::from(self.stride[axis]) + 1;
            output[axis] = u32::try_from(size).map_err(|_| GeometryError {
                problem: format!("the output is too large along {name}"),
                actual: size.to_string(),
                expected: format!("at most {}", u32::MAX),
            })?;
        }
        Ok(output)
    }
}

/// A window that does not fit its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeometryError {
    pub problem: String,
    pub actual: String,
    pub expected: String,
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (got {}, expected {})", self.problem, self.actual, self.expected)
    }
}

/// A two-dimensional convolution: input (N, C, H, W), weight (O, C, KH, KW), output (N, O, OH, OW).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    pub batch: u32,
    pub in_channels: u32,
    pub out_channels: u32,
    /// Input height and width.
    pub input: [u32; 2],
    pub window: Window,
    /// Output height and width.
    pub output: [u32; 2],
}

impl Conv2d {
    pub fn new(
        batch: u32,
        in_channels: u32,
        out_channels: u32,
        input: [u32; 2],
        window: Window,
    ) -> Result<Self, GeometryError> {
        let output = window.output_size(input)?;
        Ok(Self { batch, in_channels, out_channels, input, window, output })
    }

    pub fn input_len(&self) -> usize {
        product(&[self.batch, self.in_channels, self.input[0], self.input[1]])
    }

    pub fn weight_len(&self) -> usize {
        product(&[self.out_channels, self.in_channels, self.window.kernel_size[0], self.window.kernel_size[1]])
    }

    pub fn output_len(&self) -> usize {
        product(&[self.batch, self.out_channels, self.output[0], self.output[1]])
    }
}

/// A pooling over each of `planes` = batch × channels planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    pub planes: u32,
    /// Input height and width.
    pub input: [u32; 2],
    pub window: Window,
    /// Output height and width.
    pub output: [u32; 2],
}

impl Pool2d {
    /// As PyTorch, padding is at most half the kernel. A dilated window that would hold nothing but padding is refused too: its maximum is
    /// no number.
    pub fn new(planes: u32, input: [u32; 2], window: Window) -> Result<Self, GeometryError> {
        let output = window.output_size(input)?;
        for axis in 0..2 {
            if window.padding[axis] > window.kernel_size[axis] / 2 {
                return Err(GeometryError {
                    problem: "padding is larger than half the kernel".into(),
                    actual: window.padding[axis].to_string(),
                    expected: format!("at most {}", window.kernel_size[axis] / 2),
                });
            }
        }
        for axis in 0..2 {
            let [kernel_size, stride, padding, dilation] =
                [window.kernel_size, window.stride, window.padding, window.dilation].map(|pair| u64::from(pair[axis]));
            let covered = |o: u64| {
                let taps = (0..kernel_size).map(|k| o * stride + k * dilation);
                taps.skip_while(|&tap| tap < padding).take(1).any(|tap| tap - padding < u64::from(input[axis]))
            };
            if let Some(empty) = (0..u64::from(output[axis])).find(|&o| !covered(o)) {
                return Err(GeometryError {
                    problem: format!("window {empty} along {} holds only padding", ["height", "width"][axis]),
                    actual: format!("dilation {dilation}"),
                    expected: "a window over some input".into(),
                });
            }
        }
        Ok(Self { planes, input, window, output })
    }

    pub fn input_len(&self) -> usize {
        product(&[self.planes, self.input[0], self.input[1]])
    }

    pub fn output_len(&self) -> usize {
        product(&[self.planes, self.output[0], self.output[1]])
    }
}

/// A matrix product (m, k) × (k, n) → (m, n), row-major. With `transpose_a` the first operand is stored (k, m); with
/// `transpose_b` the second is stored (n, k).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matmul {
    pub m: u32,
    pub k: u32,
    pub n: u32,
    pub transpose_a: bool,
    pub transpose_b: bool,
}

/// A fully connected layer: (batch, in_features) → (batch, out_features).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Linear {
    pub batch: u32,
    pub in_features: u32,
    pub out_features: u32,
}

impl Linear {
    pub fn input_len(&self) -> usize {
        product(&[self.batch, self.in_features])
    }

    pub fn weight_len(&self) -> usize {
        product(&[self.out_features, self.in_features])
    }

    pub fn output_len(&self) -> usize {
        product(&[self.batch, self.out_features])
    }
}

/// A tensor (batch, channels, size) seen by a per-channel bias: `size` is height × width, or 1 after a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channels {
    pub batch: u32,
    pub channels: u32,
    pub size: u32,
}

impl Channels {
    pub fn len(&self) -> usize {
        product(&[self.batch, self.channels, self.size])
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The product of sizes as a length; saturates instead of wrapping, so that a later limit check refuses it.
pub fn product(sizes: &[u32]) -> usize {
    sizes.iter().fold(1usize, |total, &size| total.saturating_mul(size as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_sizes_follow_the_formula() {
        assert_eq!(Window::square(5).output_size([32, 32]), Ok([28, 28]));
        assert_eq!(Window::square(2).stride(2).output_size([5, 4]), Ok([2, 2]));
        assert_eq!(Window::square(3).stride(2).padding(1).dilation(2).output_size([7, 9]), Ok([3, 4]));
    }

    #[test]
    fn a_kernel_larger_than_its_input_is_refused() {
        let error = Window::square(3).dilation(2).output_size([4, 9]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the padded input is smaller than the kernel along height (got 4, expected at least 5)"
        );
    }

    #[test]
    fn a_pooling_window_of_padding_alone_is_refused() {
        let window = Window::square(2).padding(1).dilation(3);
        assert!(Pool2d::new(1, [2, 2], window).is_err());
        assert!(Pool2d::new(1, [3, 3], window).is_ok());
    }

    #[test]
    fn huge_sizes_do_not_wrap() {
        let window = Window { kernel_size: [u32::MAX; 2], stride: [1; 2], padding: [u32::MAX; 2], dilation: [1; 2] };
        assert!(window.output_size([u32::MAX; 2]).is_err());
        assert_eq!(product(&[u32::MAX; 4]), usize::MAX);
    }
}
