//! A network: named layers in order.

use super::layer::{Layer, describe};
use crate::error::{Error, Result};
use crate::geometry::product;
use crate::place::Place;

/// The networks that come with the program.
pub const PRESETS: &[(&str, &str)] =
    &[("lenet", include_str!("presets/lenet.toml")), ("wide", include_str!("presets/wide.toml"))];

/// A layer and the name its parameters and tensors go by.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedLayer {
    pub name: String,
    pub layer: Layer,
}

/// Layers in order, from images to logits.
#[derive(Clone, Debug)]
pub struct Network {
    pub name: String,
    pub layers: Vec<NamedLayer>,
    /// Where each layer was read.
    places: Vec<Place>,
}

/// Where it was read from is no part of what a network is.
impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.layers) == (&other.name, &other.layers)
    }
}

/// What a layer turns an image into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    pub input: Vec<u32>,
    pub output: Vec<u32>,
}

impl Network {
    /// Names the layers by their kind and place: conv1, relu1, pool1, conv2 …
    pub fn new(name: &str, layers: impl IntoIterator<Item = Layer>) -> Self {
        let mut named: Vec<NamedLayer> = Vec::new();
        for layer in layers {
            let before = named.iter().filter(|other| other.layer.prefix() == layer.prefix()).count();
            named.push(NamedLayer { name: format!("{}{}", layer.prefix(), before + 1), layer });
        }
        Self { name: name.into(), layers: named, places: Vec::new() }
    }

    /// With the place of each layer in the file that it was read from, for errors to show.
    pub(super) fn with_places(self, places: Vec<Place>) -> Self {
        Self { places, ..self }
    }

    /// The error, at the place of the layer that it is about.
    fn located(&self, layer: usize, input: &[u32], error: Error) -> Error {
        match self.places.get(layer) {
            Some(place) => error.at(place.labelled(format!("its input is {}", describe(input)))),
            None => error,
        }
    }

    /// Input and output shape of every layer for one image (channels, height, width) of data with so many classes.
    ///
    /// # Errors
    /// The layer that does not fit what comes before it.
    pub fn activations(&self, image: [u32; 3], classes: u32) -> Result<Vec<Activation>> {
        let mut input = image.to_vec();
        let mut activations = Vec::with_capacity(self.layers.len());
        for (index, NamedLayer { name, layer }) in self.layers.iter().enumerate() {
            let output =
                layer.output_shape(name, &input, classes).map_err(|error| self.located(index, &input, error))?;
            activations.push(Activation { input, output: output.clone() });
            input = output;
        }
        Ok(activations)
    }

    /// As `activations`, and the last layer gives one logit a class.
    ///
    /// # Errors
    /// A layer that does not fit, or logits that are not the classes.
    pub fn classifier(&self, image: [u32; 3], classes: u32) -> Result<Vec<Activation>> {
        let activations = self.activations(image, classes)?;
        let refuse = |layer: &str, actual: &[u32]| Error::Shape {
            layer: layer.into(),
            problem: "the network does not end in one logit a class".into(),
            actual: describe(actual),
            expected: format!("({classes})"),
        };
        match (self.layers.last(), activations.last()) {
            (Some(_), Some(last)) if last.output == [classes] => Ok(activations),
            (Some(layer), Some(last)) => {
                let error = refuse(&layer.name, &last.output);
                Err(self.located(self.layers.len() - 1, &last.input, error))
            }
            _ => Err(refuse(&self.name, &image)),
        }
    }

    /// Weights and biases together.
    pub fn parameter_count(&self, activations: &[Activation]) -> u64 {
        let layers = self.layers.iter().zip(activations);
        layers
            .filter_map(|(layer, activation)| layer.layer.parameters(&activation.input, &activation.output))
            .map(|parameters| (product(&parameters.weight) + product(&parameters.bias)) as u64)
            .sum()
    }
}
