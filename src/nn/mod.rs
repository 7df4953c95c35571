//! Networks, and the plan that a network becomes.

mod fusion;
mod images;
mod initialise;
mod layer;
mod layer_line;
mod network;
mod network_file;
mod noise;
mod plan;
mod plan_builder;
mod plan_request;
mod pytorch;
mod sharing;

pub use fusion::Fusion;
pub use images::Images;
pub use initialise::initialise;
pub use layer::{Layer, Outputs};
pub use network::{Activation, NamedLayer, Network, PRESETS};
pub use noise::Noise;
pub use plan::{Optimiser, Parameter, Phase, Plan, PlanStep, Role, Storage, Tensor, TensorId};
pub use plan_request::PlanRequest;
pub use sharing::{Place, Sharing};
