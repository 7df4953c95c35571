//! Convolutional networks trained with hand-written WGSL compute kernels, dispatched through wgpu.
//!
//! A [`nn::Network`] becomes a [`nn::Plan`]: tensors and operations in order, as data. Two machines can run a
//! plan: the GPU ([`machine::GpuMachine`]) and plain f64 loops ([`machine::CpuMachine`]); comparing them is how every
//! number here is checked.

pub mod augmentation;
pub mod bench;
mod bounded;
pub mod cache_folder;
pub mod cases;
pub mod chart;
pub mod check;
pub mod checksum;
pub mod data;
mod durable;
pub mod error;
pub mod geometry;
pub mod gpu;
pub mod machine;
pub mod nn;
pub mod ops;
pub mod place;
pub mod random;
pub mod reference;
pub mod report;
pub mod source;
pub mod train;
pub mod tune;
pub mod units;

pub use error::{Error, Result};
