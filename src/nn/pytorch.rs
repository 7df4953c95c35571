//! A network as a Python file: a plain PyTorch module that loads the weights and classifies pictures.

use serde_json::json;

use super::images::Images;
use super::layer::{Layer, describe};
use super::network::{Activation, NamedLayer, Network};
use crate::error::Result;
use crate::geometry::Window;

const TEMPLATE: &str = include_str!("pytorch/model.py");

impl Network {
    /// The text of a Python file that needs torch and safetensors, and pillow to read pictures: the layers under their own names, the
    /// preprocessing, `classes`, and a main part that classifies pictures with the weights in a `model.safetensors` beside it. `image` is
    /// (channels, height, width).
    ///
    /// # Errors
    /// A layer that does not fit, or logits that are not the classes.
    pub fn to_pytorch(&self, image: [u32; 3], classes: &[String]) -> Result<String> {
        let activations = self.classifier(image, classes.len() as u32)?;
        let mut modules = String::new();
        let mut calls = String::new();
        for (NamedLayer { name, layer }, activation) in self.layers.iter().zip(&activations) {
            modules.push_str(&format!("        self.{name} = nn.{}\n", module(layer, activation)));
            calls.push_str(&format!("        x = self.{name}(x)  # {}\n", describe(&activation.output)));
        }
        // The escapes of JSON mean the same in Python.
        let classes: String = classes.iter().map(|class| format!("    {},\n", json!(class))).collect();
        let Images { mean, deviation, .. } = Images::streamed(image, 0, 0);
        let [channels, height, width] = image;
        let values = [
            ("@NAME@", self.name.clone()),
            ("        @MODULES@\n", modules),
            ("        @CALLS@\n", calls),
            ("    @CLASSES@\n", classes),
            ("@CHANNELS@", channels.to_string()),
            ("@HEIGHT@", height.to_string()),
            ("@WIDTH@", width.to_string()),
            ("@MEAN@", mean.to_string()),
            ("@DEVIATION@", deviation.to_string()),
        ];
        // A class may be named like a place that is still to be filled.
        let (mut text, mut rest) = (String::new(), TEMPLATE);
        while let Some((at, (place, value))) =
            values.iter().filter_map(|value| Some((rest.find(value.0)?, value))).min_by_key(|(at, _)| *at)
        {
            text.push_str(&rest[..at]);
            text.push_str(value);
            rest = &rest[at + place.len()..];
        }
        Ok(text + rest)
    }
}

/// The call that makes a layer's module, without PyTorch's defaults.
fn module(layer: &Layer, Activation { input, output }: &Activation) -> String {
    match layer {
        Layer::Conv2d { window, .. } => format!("Conv2d({}, {}, {})", input[0], output[0], arguments(window, [1; 2])),
        Layer::MaxPool2d { window } => format!("MaxPool2d({})", arguments(window, window.kernel_size)),
        Layer::AvgPool2d { window } => format!("AvgPool2d({})", arguments(window, window.kernel_size)),
        Layer::GlobalAvgPool2d => "AdaptiveAvgPool2d(1)".into(),
        Layer::Relu => "ReLU()".into(),
        Layer::Dropout { p } => format!("Dropout(p={p:?})"),
        Layer::Flatten => "Flatten()".into(),
        Layer::Linear { .. } => format!("Linear({}, {})", input[0], output[0]),
    }
}

/// `kernel_size=5, padding=(1, 2)`.
fn arguments(window: &Window, default_stride: [u32; 2]) -> String {
    let Window { kernel_size, stride, padding, dilation } = *window;
    let optional = [("stride", stride, default_stride), ("padding", padding, [0; 2]), ("dilation", dilation, [1; 2])];
    let given = optional.into_iter().filter(|(_, value, default)| value != default);
    let all = std::iter::once(("kernel_size", kernel_size)).chain(given.map(|(name, value, _)| (name, value)));
    let argument = |(name, value): (&str, [u32; 2])| match value {
        [height, width] if height == width => format!("{name}={height}"),
        pair => format!("{name}={}", describe(&pair)),
    };
    all.map(argument).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_left_out_and_names_are_text() {
        let text = r#"layers = [
            { type = "conv2d", out_channels = 4, kernel_size = [3, 5], stride = 2, padding = [1, 2], dilation = 1 },
            { type = "max_pool2d", kernel_size = 2 },
            { type = "flatten" },
            { type = "dropout", p = 0.25 },
            { type = "linear", out_features = "classes" },
        ]"#;
        let network = Network::parse(text, "odd").unwrap();
        let classes = ["\"quoted\"\n".into(), "@MEAN@ \\ käse".into()];
        let python = network.to_pytorch([1, 9, 11], &classes).unwrap();
        for line in [
            "        self.conv1 = nn.Conv2d(1, 4, kernel_size=(3, 5), stride=2, padding=(1, 2))",
            "        self.pool1 = nn.MaxPool2d(kernel_size=2)",
            "        self.dropout1 = nn.Dropout(p=0.25)",
            "        self.fc1 = nn.Linear(24, 2)",
            "        x = self.pool1(x)  # (4, 2, 3)",
            r#"    "\"quoted\"\n","#,
            r#"    "@MEAN@ \\ käse","#,
        ] {
            assert!(python.lines().any(|other| other == line), "{line} in\n{python}");
        }
        assert!(network.to_pytorch([1, 2, 2], &classes).is_err());
    }
}
