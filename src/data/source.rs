//! What `--data` means: which data set, where it is looked for, and what happens when it is not there.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::cifar::{CIFAR10_BINARY, CIFAR10_PYTHON};
use super::download::{self, Archive, Failure};
use super::layout::{self, Layout};
use super::{Dataset, Loaded, Options, Progress, shapes};
use crate::error::{Error, Result};

/// Where CIFAR-10 is looked for first and downloaded to, relative to the working folder.
const DATA_FOLDER: &str = "data";
const VARIABLE: &str = "SHADEGRAD_DATA";

const SHAPES_SEED: u64 = 0;
const SHAPES_TRAIN: u32 = 50_000;
const SHAPES_TEST: u32 = 10_000;

/// What to train on, as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DataSpec {
    /// CIFAR-10 from disk or the network; the built-in shapes where the network cannot be reached.
    #[default]
    Auto,
    /// CIFAR-10 from disk or the network, or an error.
    Cifar10,
    /// The built-in shapes.
    Shapes,
    /// A folder, recognised by what is in it.
    Folder(PathBuf),
}

impl FromStr for DataSpec {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "auto" => Self::Auto,
            "cifar10" => Self::Cifar10,
            "shapes" => Self::Shapes,
            folder => Self::Folder(folder.into()),
        })
    }
}

impl fmt::Display for DataSpec {
    /// Text that parses back to the same data; a folder that is named like a word becomes `./word`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cifar10 => f.write_str("cifar10"),
            Self::Shapes => f.write_str("shapes"),
            Self::Folder(folder) => match folder.to_str() {
                Some("auto" | "cifar10" | "shapes") => write!(f, "./{}", folder.display()),
                _ => folder.display().fmt(f),
            },
        }
    }
}

/// Loads what `spec` asks for. Only [`DataSpec::Auto`] may load something else, and then says so in [`Loaded::fallback`].
///
/// # Errors
/// `Error::Usage` for options that cannot be used, or that `spec` leaves no room for; `Error::Data` for data that is missing,
/// damaged or unreachable; `Error::File` for a disk that cannot be read or written.
pub fn load(spec: &DataSpec, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Loaded> {
    options.check()?;
    let mut loaded = match spec {
        DataSpec::Auto | DataSpec::Cifar10 => {
            let variable = std::env::var_os(VARIABLE);
            match cifar10(Path::new(DATA_FOLDER), variable, &Archive::cifar10(), progress) {
                Ok(dataset) => Loaded::fixed(dataset),
                Err(Failure::Network(error)) if *spec == DataSpec::Auto => {
                    Loaded { fallback: Some(error.to_string()), ..Loaded::fixed(draw(options.limit, progress)) }
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        DataSpec::Shapes => Loaded::fixed(draw(options.limit, progress)),
        DataSpec::Folder(folder) => layout::read(folder, options, progress)?,
    };
    require_use(&loaded, options)?;
    // Data of one file or a few is read whole all the same, so that damage behind the limit is found.
    if let Some(limit) = options.limit {
        loaded.dataset.train.truncate(limit as usize);
        loaded.dataset.test.truncate(limit as usize);
        loaded.options.limit = Some(limit);
    }
    Ok(loaded)
}

/// # Errors
/// An option that a person asked for and that had no say.
fn require_use(loaded: &Loaded, asked: &Options) -> Result<()> {
    if asked.inherited {
        return Ok(());
    }
    let Loaded { dataset, options: used, .. } = loaded;
    let side = dataset.shape.height;
    if let Some(size) = asked.image_size.filter(|&size| used.image_size.is_none() && size != side) {
        let shape = format!("the images of {} are {side}×{}", dataset.name, dataset.shape.width);
        return Err(Error::usage(format!("--image-size is for pictures in folders: {shape} (got {size})")));
    }
    let splits = [("--test-share", asked.test_share.is_some()), ("--split-seed", asked.split_seed.is_some())];
    match splits.into_iter().find(|(_, asked)| *asked && used.test_share.is_none()) {
        Some((flag, _)) => {
            Err(Error::usage(format!("{flag} is for data without test images: {} has its own", dataset.name)))
        }
        None => Ok(()),
    }
}

fn draw(limit: Option<u32>, progress: &mut dyn FnMut(Progress)) -> Dataset {
    progress(Progress::Drawing);
    let limit = limit.unwrap_or(u32::MAX);
    shapes(SHAPES_SEED, SHAPES_TRAIN.min(limit), SHAPES_TEST.min(limit))
}

/// CIFAR-10 from the variable's folder where it is set, else from `folder`, else downloaded into `folder`.
fn cifar10(
    folder: &Path,
    variable: Option<OsString>,
    archive: &Archive,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Failure> {
    let versions = [&CIFAR10_BINARY, &CIFAR10_PYTHON];
    let found = match variable.filter(|value| !value.is_empty()) {
        // Someone who names a folder means that folder: nothing else is read or downloaded instead.
        Some(named) => {
            let named = Path::new(&named);
            Some(versions.iter().find_map(|cifar| Some((*cifar, cifar.find(named)?))).ok_or_else(|| {
                let looked_for = format!("looked for {}; {}", CIFAR10_BINARY.signs(), CIFAR10_PYTHON.signs());
                Error::data(format!("{VARIABLE} is {}, which holds no CIFAR-10 ({looked_for})", named.display()))
            })?)
        }
        // An incomplete folder is what an interrupted extraction leaves: downloading completes it.
        None => versions.iter().find_map(|cifar| {
            let found = cifar.find(folder).filter(|found| cifar.is_complete(found))?;
            Some((*cifar, found))
        }),
    };
    let (cifar, found) = match found {
        Some(found) => found,
        None => (&CIFAR10_BINARY, download::fetch(archive, folder, progress)?),
    };
    progress(Progress::Reading);
    Ok(cifar.dataset(&found)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Port 9 of the loopback address: refused at once.
    fn unreachable() -> Archive {
        Archive { url: "http://127.0.0.1:9/cifar-10-binary.tar.gz".into(), ..Archive::cifar10() }
    }

    #[test]
    fn a_spec_survives_its_own_text() {
        for text in ["auto", "cifar10", "shapes", "data/mine", "./shapes"] {
            assert_eq!(text.parse::<DataSpec>().unwrap().to_string(), text);
        }
        assert_eq!(DataSpec::Folder("shapes".into()).to_string(), "./shapes");
    }

    #[test]
    fn an_unreachable_server_is_a_network_failure() {
        let folder = tempfile::tempdir().unwrap();
        let failure = cifar10(folder.path(), None, &unreachable(), &mut |_| {}).unwrap_err();
        assert!(matches!(failure, Failure::Network(_)), "{failure:?}");
    }

    #[test]
    fn a_damaged_file_is_never_a_network_failure() {
        let folder = tempfile::tempdir().unwrap();
        for (file, _) in CIFAR10_BINARY.files() {
            std::fs::write(folder.path().join(file), b"short").unwrap();
        }
        let failure = cifar10(folder.path(), None, &unreachable(), &mut |_| {}).unwrap_err();
        assert!(matches!(failure, Failure::Other(_)), "{failure:?}");
        assert_eq!(Error::from(failure).to_string(), "data_batch_1.bin has 5 bytes, expected 30730000");
    }

    #[test]
    fn a_named_folder_without_cifar10_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().as_os_str().to_owned();
        let failure = cifar10(folder.path(), Some(named), &unreachable(), &mut |_| {}).unwrap_err();
        assert!(matches!(failure, Failure::Other(_)), "{failure:?}");
        assert!(Error::from(failure).to_string().contains("SHADEGRAD_DATA"));
    }
}
