//! Networks, and the plan that a network becomes.

mod initialise;
mod layer;
mod network;
mod network_file;
mod plan;
mod plan_builder;

pub use initialise::initialise;
pub use layer::Layer;
pub use network::{Activation, NamedLayer, Network, PRESETS};
pub use plan::{Optimiser, Parameter, Phase, Plan, PlanStep, Role, Storage, Tensor, TensorId};
pub use plan_builder::{Images, PlanRequest};
