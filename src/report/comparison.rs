//! Several runs side by side: what each was and how well it did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::train::history::{Done, End, EpochEnd};
use crate::train::{Config, History, RunFolder};

/// A run among others.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder, as short as tells it from the others.
    pub name: String,
    pub config: Config,
    pub history: History,
    pub parameters: u64,
}

impl Run {
    /// After the last epoch that was tested.
    pub fn last(&self) -> Option<&EpochEnd> {
        self.history.evaluations.iter().rev().find(|end| end.evaluation.images > 0)
    }

    /// What is known once it is finished.
    pub fn done(&self) -> Option<&Done> {
        match &self.history.end {
            Some(End::Done(done)) => Some(done),
            _ => None,
        }
    }

    /// Seconds in training, where the run has ended.
    pub fn seconds(&self) -> Option<f64> {
        self.history.end.as_ref().map(|end| match end {
            End::Done(done) => done.seconds,
            End::Stopped(stopped) => stopped.seconds,
        })
    }

    /// `finished`, `interrupted`, an error, or `unfinished` while it is trained or after a kill.
    pub fn state(&self) -> &str {
        match &self.history.end {
            Some(End::Done(_)) => "finished",
            Some(End::Stopped(stopped)) => &stopped.reason,
            None => "unfinished",
        }
    }
}

/// Runs, in the order in which they were named.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub runs: Vec<Run>,
}

impl Comparison {
    /// # Errors
    /// A folder that is no run.
    pub fn read(folders: &[PathBuf]) -> Result<Self> {
        let runs = folders.iter().zip(names(folders)).map(|(folder, name)| {
            let config = RunFolder::config(folder)?;
            let activations = config.network.classifier(config.data.shape, config.data.classes.len() as u32)?;
            let parameters = config.network.parameter_count(&activations);
            Ok(Run { name, history: RunFolder::history(folder)?, config, parameters })
        });
        Ok(Self { runs: runs.collect::<Result<_>>()? })
    }

    /// Runs of the same training images and number of test images, by their places; accuracies of different groups do not compare.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<(&str, u64), Vec<usize>> = BTreeMap::new();
        for (place, run) in self.runs.iter().enumerate() {
            groups.entry((&run.config.data.sha256, run.config.data.test)).or_default().push(place);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort();
        groups
    }

    /// Whether a run is the most accurate of those that it can be compared with, and there are any.
    pub fn is_best(&self, place: usize) -> bool {
        let accuracy = |place: usize| self.runs[place].last().map_or(-1.0, |end| end.evaluation.accuracy);
        let groups = self.groups();
        let Some(group) = groups.iter().find(|group| group.contains(&place)) else { return false };
        group.len() > 1 && accuracy(place) >= 0.0 && group.iter().all(|&other| accuracy(other) <= accuracy(place))
    }
}

/// The folders' last names, with as much before them as tells them apart.
fn names(folders: &[PathBuf]) -> Vec<String> {
    let tail = |folder: &Path, length: usize| {
        let parts: Vec<_> = folder.components().collect();
        parts[parts.len().saturating_sub(length)..].iter().collect::<PathBuf>().display().to_string()
    };
    let longest = folders.iter().map(|folder| folder.components().count()).max().unwrap_or(1);
    let differ = |names: &[String]| names.iter().collect::<std::collections::BTreeSet<_>>().len() == names.len();
    let names = |length: usize| folders.iter().map(|folder| tail(folder, length)).collect::<Vec<_>>();
    (1..=longest).map(names).find(|names| differ(names)).unwrap_or_else(|| names(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let short = |folders: &[&str]| names(&folders.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(short(&["runs/lenet-1", "runs/wide-1/"]), ["lenet-1", "wide-1"]);
        let apart = [Path::new("a").join("lenet-1"), Path::new("b").join("lenet-1")];
        assert_eq!(short(&["runs/a/lenet-1", "runs/b/lenet-1"]), apart.map(|path| path.display().to_string()));
        assert_eq!(short(&["same", "same"]), ["same", "same"]);
    }
}
