//! Networks as TOML, a layer a line; the presets are such files.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::layer::{Features, Layer};
use super::network::{Network, PRESETS};
use crate::error::{Error, Result};
use crate::geometry::Window;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    layers: Vec<Spanned<toml::Table>>,
}

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
    out_channels: u32,
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
    out_features: FeaturesWord,
}

/// A number, or the word `classes`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`out_features` is a number or \"classes\"")]
enum FeaturesWord {
    Fixed(u32),
    Word(ClassesWord),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClassesWord {
    Classes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropoutLine {
    /// As PyTorch, 0.5 when absent.
    p: Option<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyLine {}

impl Network {
    /// A preset by name, or a `.toml` file.
    ///
    /// # Errors
    /// A name that is neither, a file that cannot be read or understood.
    pub fn load(model: &str) -> Result<Self> {
        if let Some((name, text)) = PRESETS.iter().find(|(name, _)| *name == model) {
            return Self::parse(text, name);
        }
        if !model.ends_with(".toml") {
            let names: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
            return Err(Error::usage(format!("no model {model} (expected {} or a .toml file)", names.join(", "))));
        }
        let text = std::fs::read_to_string(model).map_err(Error::file("read", model))?;
        let stem = Path::new(model).file_stem().map_or_else(|| model.into(), |stem| stem.to_string_lossy());
        Self::parse(&text, &stem).map_err(|error| match error {
            Error::Usage { message, hint } => Error::Usage { message: format!("{model}: {message}"), hint },
            other => other,
        })
    }

    /// Reads a network from TOML; `name` is for a file that does not give one.
    ///
    /// # Errors
    /// The line that cannot be understood.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            Error::usage(format!("line {line}: {}", error.message()))
        })?;
        let mut layers = Vec::with_capacity(file.layers.len());
        for spanned in file.layers {
            let line = line_of(text, spanned.span().start);
            layers
                .push(layer(spanned.into_inner()).map_err(|problem| Error::usage(format!("line {line}: {problem}")))?);
        }
        Ok(Self::new(&file.name.map_or_else(|| Ok(from_stem(name)), checked_name)?, layers))
    }

    /// The TOML that `parse` reads back.
    pub fn to_toml(&self) -> String {
        let mut text = format!("name = {}\nlayers = [\n", toml::Value::from(self.name.as_str()));
        for named in &self.layers {
            text.push_str(&format!("    {{ type = \"{}\"{} }},\n", named.layer.kind(), fields(&named.layer)));
        }
        text.push_str("]\n");
        text
    }
}

/// A name becomes part of a folder's name.
fn checked_name(name: String) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.len() <= 64 && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(Error::usage(format!(
        "`name` takes letters, digits, -, _ and . and starts with one of the first two (got {name:?})"
    )))
}

/// A file's name, made fit.
fn from_stem(stem: &str) -> String {
    let fit = stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' });
    let fit: String = fit.take(64).collect();
    if fit.starts_with(|c: char| c.is_ascii_alphanumeric()) { fit } else { format!("network{fit}") }
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

fn layer(mut table: toml::Table) -> Result<Layer, String> {
    let kind = match table.remove("type") {
        Some(toml::Value::String(kind)) => kind,
        Some(other) => return Err(format!("`type` is not a word (got {other})")),
        None => return Err("a layer has no `type`".into()),
    };
    fn read<T: DeserializeOwned>(table: toml::Table) -> Result<T, String> {
        table.try_into().map_err(|error: toml::de::Error| error.message().to_string())
    }
    let axes = |pair: Option<Pair>, default: [u32; 2]| pair.map_or(default, Pair::axes);
    let pool = |line: PoolLine| Window {
        kernel_size: line.kernel_size.axes(),
        stride: axes(line.stride, line.kernel_size.axes()),
        padding: axes(line.padding, [0; 2]),
        dilation: axes(line.dilation, [1; 2]),
    };
    Ok(match kind.as_str() {
        "conv2d" => {
            let line: Conv2dLine = read(table)?;
            let window = Window {
                kernel_size: line.kernel_size.axes(),
                stride: axes(line.stride, [1; 2]),
                padding: axes(line.padding, [0; 2]),
                dilation: axes(line.dilation, [1; 2]),
            };
            Layer::Conv2d { out_channels: line.out_channels, window }
        }
        "max_pool2d" => Layer::MaxPool2d { window: pool(read(table)?) },
        "avg_pool2d" => {
            let window = pool(read(table)?);
            if window.dilation != [1; 2] {
                return Err("avg_pool2d has no dilation".into());
            }
            Layer::AvgPool2d { window }
        }
        "global_avg_pool2d" => read::<EmptyLine>(table).map(|_| Layer::GlobalAvgPool2d)?,
        "relu" => read::<EmptyLine>(table).map(|_| Layer::Relu)?,
        "dropout" => {
            let p = read::<DropoutLine>(table)?.p.unwrap_or(0.5);
            if !(0.0..1.0).contains(&p) {
                return Err(format!("`p` must be at least 0 and below 1 (got {p})"));
            }
            Layer::Dropout { p }
        }
        "flatten" => read::<EmptyLine>(table).map(|_| Layer::Flatten)?,
        "linear" => Layer::Linear {
            out_features: match read::<LinearLine>(table)?.out_features {
                FeaturesWord::Fixed(features) => Features::Fixed(features),
                FeaturesWord::Word(ClassesWord::Classes) => Features::Classes,
            },
        },
        _ => {
            return Err(format!(
                "no layer {kind} (expected conv2d, max_pool2d, avg_pool2d, global_avg_pool2d, relu, dropout, flatten, linear)"
            ));
        }
    })
}

fn fields(layer: &Layer) -> String {
    let window = |window: &Window| {
        let Window { kernel_size, stride, padding, dilation } = window;
        [("kernel_size", kernel_size), ("stride", stride), ("padding", padding), ("dilation", dilation)]
            .iter()
            .map(|(name, [height, width])| format!(", {name} = [{height}, {width}]"))
            .collect::<String>()
    };
    match layer {
        Layer::Conv2d { out_channels, window: shape } => format!(", out_channels = {out_channels}{}", window(shape)),
        Layer::MaxPool2d { window: shape } | Layer::AvgPool2d { window: shape } => window(shape),
        Layer::Linear { out_features: Features::Fixed(features) } => format!(", out_features = {features}"),
        Layer::Linear { out_features: Features::Classes } => ", out_features = \"classes\"".into(),
        // With a point or an exponent, as TOML has floats.
        Layer::Dropout { p } => format!(", p = {p:?}"),
        Layer::GlobalAvgPool2d | Layer::Relu | Layer::Flatten => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_read_back_from_what_they_write() {
        for (name, parameters) in [("lenet", 62_006), ("wide", 440_034)] {
            let network = Network::load(name).unwrap();
            assert_eq!(Network::parse(&network.to_toml(), "other").unwrap(), network);
            let activations = network.classifier([3, 32, 32], 10).unwrap();
            assert_eq!(network.parameter_count(&activations), parameters);
        }
    }

    #[test]
    fn dropout_reads_back_as_it_was() {
        for (fields, p) in [("", 0.5), (", p = 0", 0.0), (", p = 0.1", 0.1), (", p = 1e-9", 1e-9)] {
            let text = format!("layers = [{{ type = \"dropout\"{fields} }}, {{ type = \"dropout\" }}]");
            let network = Network::parse(&text, "mine").unwrap();
            assert_eq!((network.layers[0].layer, &*network.layers[1].name), (Layer::Dropout { p }, "dropout2"));
            assert_eq!(Network::parse(&network.to_toml(), "other").unwrap(), network);
        }
    }

    #[test]
    fn errors_name_the_line_and_the_layer() {
        let message = |text: &str| Network::parse(text, "mine").unwrap_err().to_string();
        assert_eq!(
            message("layers = [\n  { type = \"relu\" },\n  { type = \"conv\" },\n]"),
            "line 3: no layer conv (expected conv2d, max_pool2d, avg_pool2d, global_avg_pool2d, relu, dropout, flatten, linear)"
        );
        assert_eq!(
            message("layers = [\n  { type = \"linear\", features = 3 },\n]"),
            "line 2: unknown field `features`, expected `out_features`"
        );
        assert!(message("layers = 3").starts_with("line 1: "));
        for (p, problem) in [
            ("1", "`p` must be at least 0 and below 1 (got 1)"),
            ("-0.1", "`p` must be at least 0 and below 1 (got -0.1)"),
            ("nan", "`p` must be at least 0 and below 1 (got NaN)"),
            ("0.9999999999", "`p` must be at least 0 and below 1 (got 1)"),
            ("\"half\"", "invalid type: string \"half\", expected f32"),
        ] {
            let text = format!("layers = [\n  {{ type = \"relu\" }},\n  {{ type = \"dropout\", p = {p} }},\n]");
            assert_eq!(message(&text), format!("line 3: {problem}"));
        }

        let network = Network::parse(
            "layers = [{ type = \"conv2d\", out_channels = 4, kernel_size = 7 }, { type = \"linear\", out_features = 10 }]",
            "mine",
        )
        .unwrap();
        assert_eq!(
            network.activations([3, 5, 9], 10).unwrap_err().to_string(),
            "conv1: the padded input is smaller than the kernel along height (got 5, expected at least 7)"
        );
        assert_eq!(
            network.activations([3, 9, 9], 10).unwrap_err().to_string(),
            "fc1: this layer needs a flat input (got (4, 3, 3), expected (features), after a flatten layer)"
        );
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        let name =
            |text: &str| Network::parse(&format!("name = {text}\nlayers = []"), "my net").map(|network| network.name);
        assert_eq!(name("\"tiny-1.2\"").unwrap(), "tiny-1.2");
        for hostile in ["\"../../evil\"", "\"/elsewhere/x\"", "\"\"", "\"-rf\"", "\".hidden\""] {
            assert!(name(hostile).unwrap_err().to_string().starts_with("`name` takes letters"), "{hostile}");
        }
        assert_eq!(Network::parse("layers = []", "my net").unwrap().name, "my-net");
    }

    #[test]
    fn sums_that_cannot_be_cut_are_refused() {
        let wide = |fields: &str, width| {
            let text = format!("layers = [{{ type = \"conv2d\", out_channels = 1, {fields} }}]");
            Network::parse(&text, "wide").unwrap().activations([1, 1, width], 10).unwrap_err().to_string()
        };
        assert_eq!(
            wide("kernel_size = [1, 5000], padding = [0, 5000]", 8),
            "conv1: the kernel is too wide (got 5000, expected at most 4096)"
        );
        assert_eq!(wide("kernel_size = 1", 5000), "conv1: the output is too wide (got 5000, expected at most 4096)");
        assert!(
            wide("kernel_size = 1, padding = 4294967295", 8).contains("the padded input is too large along height")
        );
    }

    #[test]
    fn logits_must_be_the_classes() {
        let end = |features: &str| {
            let line =
                format!("layers = [{{ type = \"flatten\" }}, {{ type = \"linear\", out_features = {features} }}]");
            Network::parse(&line, "end")
        };
        assert_eq!(
            end("10").unwrap().classifier([3, 32, 32], 3).unwrap_err().to_string(),
            "fc1: the network does not end in one logit a class (got (10), expected (3))"
        );
        assert_eq!(end("\"classes\"").unwrap().classifier([3, 32, 32], 3).unwrap()[1].output, [3]);
        for wrong in ["\"labels\"", "-3", "1.5"] {
            assert_eq!(
                end(wrong).unwrap_err().to_string(),
                "line 1: `out_features` is a number or \"classes\"",
                "{wrong}"
            );
        }
    }
}
