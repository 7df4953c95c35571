//! Training runs: settings, the run folder, checkpoints, the trainer that reports events.

pub mod checkpoint;
mod config;
mod event;
mod export;
pub mod history;
mod init;
mod job;
mod metrics;
mod predict;
mod recipe;
mod run_folder;
mod safetensor_file;
mod schedule;
mod settings;
mod submission;
mod trained;
mod trainer;
mod weights;
mod worker;

pub use config::{AdapterRecord, Config, DataRecord};
pub use event::Event;
pub use export::export;
pub use history::History;
pub use init::Init;
pub use job::{Job, Outcome, RunTarget, Stop};
pub use metrics::{Evaluation, Predictions, evaluate};
pub use predict::predict;
pub use recipe::Recipe;
pub use run_folder::RunFolder;
pub use schedule::{LearningRates, Schedule};
pub use settings::Settings;
pub use submission::Submission;
pub use trained::{Latest, Trained};
pub use weights::flatten;
pub use worker::spawn;
