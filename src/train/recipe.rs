//! What a file says about a run: a network file with a `[train]` table, the `config.toml` of a run, or a file like it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{AdapterRecord, DataRecord, RunFolder, Settings};
use crate::error::{Error, Result};
use crate::nn::Network;
use crate::ops::Tuned;
use crate::place::Place;
use crate::source::Source;

/// What to train and how, for flags to change.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What the file leaves open is as in [`Settings::default`].
    pub settings: Settings,
    pub network: Network,
    /// Ops that run a user's own kernel, and where it is kept.
    pub kernels: Vec<(String, PathBuf)>,
    /// The images of the run whose file it is.
    pub data: Option<DataRecord>,
    /// What that run was trained on.
    pub adapter: Option<AdapterRecord>,
    /// The variants that its ops were tuned to there.
    pub tuned: Tuned,
    /// Of the keys of `[train]`.
    places: BTreeMap<String, Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    train: Settings,
    #[serde(rename = "name")]
    _name: Option<IgnoredAny>,
    #[serde(rename = "layers")]
    _layers: Option<IgnoredAny>,
    #[serde(rename = "network")]
    _network: Option<IgnoredAny>,
    #[serde(default)]
    kernels: Vec<String>,
    #[serde(default)]
    tuned: Tuned,
    data: Option<DataRecord>,
    adapter: Option<AdapterRecord>,
    #[serde(rename = "versions")]
    _versions: Option<IgnoredAny>,
}

impl Recipe {
    /// A run by its folder or its `config.toml`, or a file of that form: `[train]`, and the network as `[network]`, as in a network file,
    /// or by the name in `[train]`.
    ///
    /// # Errors
    /// A file that cannot be read, and the place in it that cannot be understood.
    pub fn load(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { RunFolder::config_file(path) } else { path.into() };
        Self::read(&Source::open(&file)?, file.parent().unwrap_or(Path::new("")))
    }

    /// A preset by name, or a network file.
    ///
    /// # Errors
    /// As [`Network::load`], and of `[train]`.
    pub fn of_model(model: &str) -> Result<Self> {
        if !model.ends_with(".toml") {
            let network = Network::load(model)?;
            let settings = Settings { model: network.name.clone(), ..Settings::default() };
            let (kernels, tuned, places) = (Vec::new(), Tuned::default(), BTreeMap::new());
            return Ok(Self { settings, network, kernels, tuned, data: None, adapter: None, places });
        }
        // A file without layers is no network file, whatever else it is.
        Network::load(model)?;
        Self::load(Path::new(model))
    }

    /// `folder` is where kernels are kept.
    pub(super) fn read(source: &Source, folder: &Path) -> Result<Self> {
        let table = source.parse()?;
        let file: File = source.table(table.clone())?;
        let train = table.get_ref().get("train").and_then(|train| train.get_ref().as_table());
        let places = train.into_iter().flatten();
        let places: BTreeMap<_, _> =
            places.map(|(key, value)| (key.to_string(), source.place(key.span().start..value.span().end))).collect();
        let network = network(table, source, &places, &file.train.model)?;
        Ok(Self {
            settings: Settings { model: network.name.clone(), ..file.train },
            network,
            kernels: file.kernels.into_iter().map(|op| (op.clone(), RunFolder::kernel(folder, &op))).collect(),
            tuned: file.tuned,
            data: file.data,
            adapter: file.adapter,
            places,
        })
    }

    /// [`Settings::check`] of what flags have made of these settings; what is the file's fault is shown in the file.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn check(&self, settings: &Settings) -> Result<()> {
        settings.check().map_err(|error| {
            let own = self.settings.check().err().map(|own| own.to_string());
            let place = match &error {
                Error::Setting { setting, .. } if own == Some(error.to_string()) => self.places.get(*setting),
                _ => None,
            };
            match place {
                Some(place) => error.at(place.clone()),
                None => error,
            }
        })
    }
}

/// The network of a file: its own, or the one it names.
fn network(
    mut table: Spanned<DeTable<'_>>,
    source: &Source,
    places: &BTreeMap<String, Place>,
    model: &str,
) -> Result<Network> {
    let (whole, keys) = (table.span(), table.get_mut());
    let own = keys.remove("network");
    let has_layers = keys.contains_key("layers") || keys.contains_key("name");
    match own {
        Some(network) if has_layers => {
            let error = Error::usage("the file has two networks, `layers` and `network`");
            Err(error.at(source.place(network.span())))
        }
        Some(network) => {
            let span = network.span();
            match network.into_inner() {
                DeValue::Table(network) => Network::read(Spanned::new(span, network), source),
                _ => Err(Error::usage("`network` is a table").at(source.place(span))),
            }
        }
        None if has_layers => match places.get("model") {
            Some(place) => Err(Error::usage("`model` has no say beside the file's own layers").at(place.clone())),
            None => {
                let keys =
                    std::mem::take(keys).into_iter().filter(|(key, _)| ["name", "layers"].contains(&&**key.get_ref()));
                Network::read(Spanned::new(whole, keys.collect()), source)
            }
        },
        None => Network::load(model).map_err(|error| match (places.get("model"), &error) {
            (Some(place), Error::Usage { .. }) => error.at(place.clone()),
            _ => error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Schedule;

    fn read(text: &str) -> Result<Recipe> {
        Recipe::read(&Source::new("mine.toml", text), Path::new("runs/x"))
    }

    const LAYERS: &str = "layers = [{ type = \"flatten\" }, { type = \"linear\", out_features = \"classes\" }]\n";

    #[test]
    fn a_network_file_may_hold_settings() {
        let train = "[train]\nepochs = 12\nschedule = \"cosine\"\naugment = \"flip,crop=4\"\n";
        let recipe = read(&format!("{LAYERS}{train}")).unwrap();
        let augment = "flip,crop=4".parse().unwrap();
        let expected =
            Settings { model: "mine".into(), epochs: 12, schedule: Schedule::Cosine, augment, ..Settings::default() };
        assert_eq!((recipe.settings, recipe.network.layers.len()), (expected, 2));
        // A network is read from the same file by those who want no more.
        assert_eq!(Network::parse(&format!("{LAYERS}{train}"), "mine.toml").unwrap().name, "mine");
        assert_eq!(read(LAYERS).unwrap().settings, Settings { model: "mine".into(), ..Settings::default() });
    }

    #[test]
    fn a_file_may_name_its_network_or_hold_it() {
        let named = read("kernels = [\"relu\"]\n[train]\nmodel = \"wide\"\nbatch = 8").unwrap();
        assert_eq!((named.network.name.as_str(), named.settings.batch), ("wide", 8));
        assert_eq!(named.kernels, [("relu".into(), Path::new("runs/x/kernels/relu.wgsl").into())]);
        let held = read(&format!("[train]\nmodel = \"gone\"\n[network]\nname = \"tiny\"\n{LAYERS}")).unwrap();
        assert_eq!((held.network.name.as_str(), held.settings.model.as_str()), ("tiny", "tiny"));
        assert_eq!(read("").unwrap().network, Network::load("lenet").unwrap());
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_is() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        for (text, start) in [
            ("[train]\nepoch = 3", "mine.toml: line 2: unknown field `epoch`, expected one of `data`, "),
            ("[train]\n\nepochs = \"3\"", "mine.toml: line 3: invalid type: string \"3\", expected u32"),
            ("[train]\nschedule = \"linear\"", "mine.toml: line 2: no schedule linear (expected constant, "),
            ("[train]\naugment = \"spin\"", "mine.toml: line 2: --augment has no \"spin\" (expected flip, "),
            ("[train]\naugment = 3", "mine.toml: line 2: invalid type: integer `3`, expected a table or text such as "),
            ("[train]\nmodel = \"big\"", "mine.toml: line 2: no model big (expected lenet, wide or a .toml file)"),
            (
                "layers = []\n[train]\nmodel = \"wide\"",
                "mine.toml: line 3: `model` has no say beside the file's own layers",
            ),
            (
                "layers = []\n[network]\nlayers = []",
                "mine.toml: line 2: the file has two networks, `layers` and `network`",
            ),
            ("network = 3", "mine.toml: line 1: `network` is a table"),
            ("[network]\nlayers = [{ type = \"spin\" }]", "mine.toml: line 2: no layer spin "),
            ("[trains]", "mine.toml: line 1: unknown field `trains`, expected one of "),
        ] {
            assert!(message(text).starts_with(start), "{}", message(text));
        }
    }

    #[test]
    fn a_value_is_the_files_fault_or_the_flags() {
        let recipe = read("[train]\nepochs = 1\nlr = -1\nwarmup = 3").unwrap();
        let message = |settings: &Settings| recipe.check(settings).unwrap_err().to_string();
        assert_eq!(message(&recipe.settings), "mine.toml: line 3: --lr must be finite and above 0 (got -1)");
        let lr = |lr| Settings { lr, ..recipe.settings.clone() };
        assert_eq!(message(&lr(-2.0)), "--lr must be finite and above 0 (got -2)");
        // The flag that would help need not be the one that is named.
        assert_eq!(message(&lr(1.0)), "--warmup must be 0 to --epochs (got 3, expected at most 1)");
        recipe.check(&Settings { epochs: 3, ..lr(1.0) }).unwrap();
    }
}
