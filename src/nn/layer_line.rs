//! A layer as a line of a network file: `{ type = "conv2d", out_channels = 6, kernel_size = 5 }`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::layer::{Layer, Outputs};
use crate::error::{Error, Result};
use crate::geometry::Window;
use crate::source::Source;

/// One number for both axes, or `[height, width]`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a size of 0 or more, or [height, width]")]
enum Pair {
    Both(u32),
    Each([u32; 2]),
}

impl Pair {
    fn axes(self) -> [u32; 2] {
        match self {
            Self::Both(size) => [size; 2],
            Self::Each(sizes) => sizes,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conv2dLine {
    out_channels: OutputsWord,
    kernel_size: Pair,
    stride: Option<Pair>,
    padding: Option<Pair>,
    dilation: Option<Pair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolLine {
    kernel_size: Pair,
    /// As PyTorch, the kernel size when absent.
    stride: Option<Pair>,
    padding: Option<Pair>,
    dilation: Option<Pair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinearLine {
    out_features: OutputsWord,
}

/// A number, or the word `classes`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or \"classes\"")]
enum OutputsWord {
    Fixed(u32),
    Word(ClassesWord),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClassesWord {
    Classes,
}

impl From<OutputsWord> for Outputs {
    fn from(word: OutputsWord) -> Self {
        match word {
            OutputsWord::Fixed(count) => Self::Fixed(count),
            OutputsWord::Word(ClassesWord::Classes) => Self::Classes,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropoutLine {
    /// As PyTorch, 0.5 when absent.
    p: Option<Spanned<f32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyLine {}

impl Layer {
    /// Reads a layer.
    ///
    /// # Errors
    /// The key or value that cannot be used, and where it is.
    pub(super) fn read(mut line: Spanned<DeValue<'_>>, source: &Source) -> Result<Self> {
        let span = line.span();
        let refuse = |span, problem: String| Error::usage(problem).at(source.place(span));
        let DeValue::Table(table) = line.get_mut() else {
            return Err(refuse(span, "a layer is a table such as { type = \"relu\" }".into()));
        };
        let Some(kind) = table.remove("type") else {
            return Err(refuse(span, "a layer has no `type`".into()));
        };
        let kind_span = kind.span();
        let DeValue::String(kind) = kind.into_inner() else {
            return Err(refuse(kind_span, "`type` is not a word".into()));
        };
        let axes = |pair: Option<Pair>, default: [u32; 2]| pair.map_or(default, Pair::axes);
        let pool = |line: PoolLine| Window {
            kernel_size: line.kernel_size.axes(),
            stride: axes(line.stride, line.kernel_size.axes()),
            padding: axes(line.padding, [0; 2]),
            dilation: axes(line.dilation, [1; 2]),
        };
        Ok(match &*kind {
            "conv2d" => {
                let line: Conv2dLine = source.value(line)?;
                let window = Window {
                    kernel_size: line.kernel_size.axes(),
                    stride: axes(line.stride, [1; 2]),
                    padding: axes(line.padding, [0; 2]),
                    dilation: axes(line.dilation, [1; 2]),
                };
                Layer::Conv2d { out_channels: line.out_channels.into(), window }
            }
            "max_pool2d" => Layer::MaxPool2d { window: pool(source.value(line)?) },
            "avg_pool2d" => {
                let window = pool(source.value(line)?);
                if window.dilation != [1; 2] {
                    return Err(refuse(span, "avg_pool2d has no dilation".into()));
                }
                Layer::AvgPool2d { window }
            }
            "global_avg_pool2d" => source.value::<EmptyLine>(line).map(|_| Layer::GlobalAvgPool2d)?,
            "relu" => source.value::<EmptyLine>(line).map(|_| Layer::Relu)?,
            "dropout" => {
                let p = source.value::<DropoutLine>(line)?.p.unwrap_or_else(|| Spanned::new(span, 0.5));
                if !(0.0..1.0).contains(p.get_ref()) {
                    let problem = format!("`p` must be at least 0 and below 1 (got {p})");
                    return Err(refuse(p.span(), problem));
                }
                Layer::Dropout { p: p.into_inner() }
            }
            "flatten" => source.value::<EmptyLine>(line).map(|_| Layer::Flatten)?,
            "linear" => Layer::Linear { out_features: source.value::<LinearLine>(line)?.out_features.into() },
            _ => {
                let kinds = "conv2d, max_pool2d, avg_pool2d, global_avg_pool2d, relu, dropout, flatten, linear";
                return Err(refuse(kind_span, format!("no layer {kind} (expected {kinds})")));
            }
        })
    }

    /// The line that `read` reads back.
    pub(super) fn to_line(self) -> String {
        format!("{{ type = \"{}\"{} }}", self.kind(), fields(&self))
    }
}

fn fields(layer: &Layer) -> String {
    let window = |window: &Window| {
        let Window { kernel_size, stride, padding, dilation } = window;
        [("kernel_size", kernel_size), ("stride", stride), ("padding", padding), ("dilation", dilation)]
            .iter()
            .map(|(name, [height, width])| format!(", {name} = [{height}, {width}]"))
            .collect::<String>()
    };
    let outputs = |outputs: &Outputs| match outputs {
        Outputs::Fixed(count) => count.to_string(),
        Outputs::Classes => "\"classes\"".into(),
    };
    match layer {
        Layer::Conv2d { out_channels, window: shape } => {
            format!(", out_channels = {}{}", outputs(out_channels), window(shape))
        }
        Layer::MaxPool2d { window: shape } | Layer::AvgPool2d { window: shape } => window(shape),
        Layer::Linear { out_features } => format!(", out_features = {}", outputs(out_features)),
        // With a point or an exponent, as TOML has floats.
        Layer::Dropout { p } => format!(", p = {p:?}"),
        Layer::GlobalAvgPool2d | Layer::Relu | Layer::Flatten => String::new(),
    }
}
