//! The layers a network is made of, and the shape rule of each.

use crate::error::{Error, Result};
use crate::geometry::{Conv2d, GeometryError, Pool2d, Window, product};
use crate::ops::MAX_TERMS;

/// How many outputs a layer has: channels or features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    Fixed(u32),
    /// One a class of whatever data the network is trained on; `out_features = "classes"` in a file.
    Classes,
}

impl Outputs {
    fn count(self, classes: u32) -> u32 {
        match self {
            Self::Fixed(count) => count,
            Self::Classes => classes,
        }
    }
}

/// One layer. Shapes leave out the batch: (channels, height, width), or (features) once flat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layer {
    /// Source: PyTorch nn.Conv2d.
    Conv2d { out_channels: Outputs, window: Window },
    /// Source: PyTorch nn.MaxPool2d.
    MaxPool2d { window: Window },
    /// Source: PyTorch nn.AvgPool2d.
    AvgPool2d { window: Window },
    /// Source: PyTorch nn.AdaptiveAvgPool2d(1).
    GlobalAvgPool2d,
    /// Source: PyTorch nn.ReLU.
    Relu,
    /// In training each element is dropped with probability `p`, at least 0 and below 1. Source: PyTorch nn.Dropout.
    Dropout { p: f32 },
    /// Source: PyTorch nn.Flatten.
    Flatten,
    /// Source: PyTorch nn.Linear.
    Linear { out_features: Outputs },
}

impl Layer {
    /// The `type` of a network file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::AvgPool2d { .. } => "avg_pool2d",
            Self::GlobalAvgPool2d => "global_avg_pool2d",
            Self::Relu => "relu",
            Self::Dropout { .. } => "dropout",
            Self::Flatten => "flatten",
            Self::Linear { .. } => "linear",
        }
    }

    /// What numbered names begin with: PyTorch's tutorials call them conv1, pool1, fc1.
    pub fn prefix(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv",
            Self::MaxPool2d { .. } | Self::AvgPool2d { .. } | Self::GlobalAvgPool2d => "pool",
            Self::Relu => "relu",
            Self::Dropout { .. } => "dropout",
            Self::Flatten => "flatten",
            Self::Linear { .. } => "fc",
        }
    }

    /// The output shape for an input shape and the classes of the data; `name` is for the error.
    ///
    /// # Errors
    /// An input that does not fit.
    pub fn output_shape(&self, name: &str, input: &[u32], classes: u32) -> Result<Vec<u32>> {
        let refuse = |problem: &str, actual: String, expected: String| Error::Shape {
            layer: name.into(),
            problem: problem.into(),
            actual,
            expected,
        };
        let planes = || match *input {
            [channels, height, width] => Ok((channels, [height, width])),
            _ => Err(refuse("this layer needs planes", describe(input), "(channels, height, width)".into())),
        };
        let fits = |result: Result<[u32; 2], GeometryError>| {
            result.map_err(|error| refuse(&error.problem, error.actual, error.expected))
        };
        let short = |window: &Window| {
            let terms = product(&window.kernel_size);
            if terms <= MAX_TERMS as usize {
                return Ok(());
            }
            let hint = format!("at most {MAX_TERMS} elements; global_avg_pool2d has no limit");
            Err(refuse("the pooling window is too large", terms.to_string(), hint))
        };
        match self {
            Self::Conv2d { out_channels, window } => {
                let (in_channels, size) = planes()?;
                let out_channels = out_channels.count(classes);
                if out_channels == 0 {
                    return Err(refuse("no output channels", "0".into(), "at least 1".into()));
                }
                let [height, width] =
                    fits(Conv2d::new(1, in_channels, out_channels, size, *window).map(|shape| shape.output))?;
                // The innermost loops of the kernels, which are not cut into slices.
                for (what, length) in [("kernel is", window.kernel_size[1]), ("output is", width)] {
                    if length > MAX_TERMS {
                        let problem = format!("the {what} too wide");
                        return Err(refuse(&problem, length.to_string(), format!("at most {MAX_TERMS}")));
                    }
                }
                Ok(vec![out_channels, height, width])
            }
            Self::MaxPool2d { window } | Self::AvgPool2d { window } => {
                let (channels, size) = planes()?;
                short(window)?;
                let [height, width] = fits(Pool2d::new(channels, size, *window).map(|shape| shape.output))?;
                Ok(vec![channels, height, width])
            }
            Self::GlobalAvgPool2d => {
                let (channels, _) = planes()?;
                Ok(vec![channels, 1, 1])
            }
            Self::Relu | Self::Dropout { .. } => Ok(input.to_vec()),
            Self::Flatten => {
                let features = u32::try_from(product(input))
                    .map_err(|_| refuse("too many features", describe(input), format!("at most {}", u32::MAX)))?;
                Ok(vec![features])
            }
            Self::Linear { out_features } => {
                let out_features = out_features.count(classes);
                match input {
                    [_] if out_features > 0 => Ok(vec![out_features]),
                    [_] => Err(refuse("no output features", "0".into(), "at least 1".into())),
                    _ => Err(refuse(
                        "this layer needs a flat input",
                        describe(input),
                        "(features), after a flatten layer".into(),
                    )),
                }
            }
        }
    }

    /// Shapes of weight and bias for an input and an output shape of this layer, and the inputs that one output sums over.
    pub fn parameters(&self, input: &[u32], output: &[u32]) -> Option<LayerParameters> {
        match *self {
            Self::Conv2d { window, .. } => {
                let [kernel_height, kernel_width] = window.kernel_size;
                Some(LayerParameters {
                    weight: vec![output[0], input[0], kernel_height, kernel_width],
                    bias: vec![output[0]],
                    fan_in: product(&[input[0], kernel_height, kernel_width]),
                })
            }
            Self::Linear { .. } => Some(LayerParameters {
                weight: vec![output[0], input[0]],
                bias: vec![output[0]],
                fan_in: input[0] as usize,
            }),
            _ => None,
        }
    }
}

/// Shapes of a layer's parameters, in PyTorch's layouts.
pub struct LayerParameters {
    pub weight: Vec<u32>,
    pub bias: Vec<u32>,
    pub fan_in: usize,
}

/// A shape as PyTorch prints it: `(6, 28, 28)`.
pub fn describe(shape: &[u32]) -> String {
    let sizes: Vec<String> = shape.iter().map(u32::to_string).collect();
    format!("({})", sizes.join(", "))
}
