//! Networks as TOML, a layer a line; the presets are such files.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layer::Layer;
use super::network::{Network, PRESETS};
use crate::error::{Error, Result};
use crate::source::Source;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<Spanned<String>>,
    #[serde(rename = "layers")]
    _layers: Vec<IgnoredAny>,
    /// Settings to train it with: the trainer's to read.
    #[serde(rename = "train")]
    _train: Option<IgnoredAny>,
}

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
        let source = Source::open(Path::new(model))?;
        Self::read(source.parse()?, &source)
    }

    /// Reads a network from TOML; `name` is for a text that does not give one.
    ///
    /// # Errors
    /// The line that cannot be understood.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let source = Source::new(name, text);
        Self::read(source.parse()?, &source)
    }

    /// Reads a network from a file or from a table in one. Without a name of its own it goes by the file's.
    ///
    /// # Errors
    /// As `parse`.
    pub fn read(table: Spanned<DeTable<'_>>, source: &Source) -> Result<Self> {
        let file: File = source.table(table.clone())?;
        let name = match file.name {
            Some(name) => checked_name(name, source)?,
            None => from_stem(source.stem()),
        };
        let mut table = table.into_inner();
        let Some(DeValue::Array(lines)) = table.remove("layers").map(Spanned::into_inner) else {
            unreachable!("read as a list above")
        };
        let mut places = Vec::with_capacity(lines.len());
        let mut layers = Vec::with_capacity(lines.len());
        for line in lines {
            places.push(source.place(line.span()));
            layers.push(Layer::read(line, source)?);
        }
        Ok(Self::new(&name, layers).with_places(places))
    }

    /// The TOML that `parse` reads back.
    pub fn to_toml(&self) -> String {
        let mut text = format!("name = {}\nlayers = [\n", toml::Value::from(self.name.as_str()));
        for named in &self.layers {
            text.push_str(&format!("    {},\n", named.layer.to_line()));
        }
        text.push_str("]\n");
        text
    }
}

/// A name becomes part of a folder's name.
fn checked_name(name: Spanned<String>, source: &Source) -> Result<String> {
    let span = name.span();
    let name = name.into_inner();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && name.len() <= 64 && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(Error::usage(format!(
        "`name` takes letters, digits, -, _ and . and starts with one of the first two (got {name:?})"
    ))
    .at(source.place(span)))
}

/// A file's name, made fit.
fn from_stem(stem: &str) -> String {
    let fit = stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' });
    let fit: String = fit.take(64).collect();
    if fit.starts_with(|c: char| c.is_ascii_alphanumeric()) { fit } else { format!("network{fit}") }
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
            "mine: line 3: no layer conv (expected conv2d, max_pool2d, avg_pool2d, global_avg_pool2d, relu, dropout, flatten, linear)"
        );
        assert_eq!(
            message("layers = [\n  { type = \"linear\", features = 3 },\n]"),
            "mine: line 2: unknown field `features`, expected `out_features`"
        );
        assert!(message("layers = 3").starts_with("mine: line 1: "));
        for (p, problem) in [
            ("1", "`p` must be at least 0 and below 1 (got 1)"),
            ("-0.1", "`p` must be at least 0 and below 1 (got -0.1)"),
            ("nan", "`p` must be at least 0 and below 1 (got NaN)"),
            ("0.9999999999", "`p` must be at least 0 and below 1 (got 1)"),
            ("\"half\"", "invalid type: string \"half\", expected f32"),
        ] {
            let text = format!("layers = [\n  {{ type = \"relu\" }},\n  {{ type = \"dropout\", p = {p} }},\n]");
            assert_eq!(message(&text), format!("mine: line 3: {problem}"));
        }

        let network = Network::parse(
            "layers = [{ type = \"conv2d\", out_channels = 4, kernel_size = 7 }, { type = \"linear\", out_features = 10 }]",
            "mine",
        )
        .unwrap();
        assert_eq!(
            network.activations([3, 5, 9], 10).unwrap_err().to_string(),
            "mine: line 1: conv1: the padded input is smaller than the kernel along height (got 5, expected at least 7)"
        );
        assert_eq!(
            network.activations([3, 9, 9], 10).unwrap_err().to_string(),
            "mine: line 1: fc1: this layer needs a flat input (got (4, 3, 3), expected (features), after a flatten layer)"
        );
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        let name =
            |text: &str| Network::parse(&format!("name = {text}\nlayers = []"), "my net").map(|network| network.name);
        assert_eq!(name("\"tiny-1.2\"").unwrap(), "tiny-1.2");
        for hostile in ["\"../../evil\"", "\"/elsewhere/x\"", "\"\"", "\"-rf\"", "\".hidden\""] {
            assert!(
                name(hostile).unwrap_err().to_string().starts_with("my net: line 1: `name` takes letters"),
                "{hostile}"
            );
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
            "wide: line 1: conv1: the kernel is too wide (got 5000, expected at most 4096)"
        );
        assert_eq!(
            wide("kernel_size = 1", 5000),
            "wide: line 1: conv1: the output is too wide (got 5000, expected at most 4096)"
        );
        assert!(
            wide("kernel_size = 1, padding = 4294967295", 8).contains("the padded input is too large along height")
        );
    }

    #[test]
    fn logits_must_be_the_classes() {
        let end = |features: &str| {
            let lines =
                format!("layers = [{{ type = \"flatten\" }},\n  {{ type = \"linear\", out_features = {features} }}]");
            Network::parse(&lines, "end")
        };
        assert_eq!(
            end("10").unwrap().classifier([3, 32, 32], 3).unwrap_err().to_string(),
            "end: line 2: fc1: the network does not end in one logit a class (got (10), expected (3))"
        );
        assert_eq!(end("\"classes\"").unwrap().classifier([3, 32, 32], 3).unwrap()[1].output, [3]);
        let line =
            "layers = [{ type = \"conv2d\", out_channels = \"classes\", kernel_size = 4 }, { type = \"flatten\" }]";
        let convolution = Network::parse(line, "end").unwrap();
        assert_eq!(Network::parse(&convolution.to_toml(), "other").unwrap(), convolution);
        assert_eq!(convolution.classifier([2, 4, 4], 7).unwrap()[1].output, [7]);
        for wrong in ["\"labels\"", "-3", "1.5"] {
            assert_eq!(end(wrong).unwrap_err().to_string(), "end: line 2: expected a number or \"classes\"", "{wrong}");
        }
    }
}
