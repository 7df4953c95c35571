//! `--device`: choosing an adapter, and saying which one it is.

use clap::Args;
use shadegrad::cache_folder::cache_folder;
use shadegrad::gpu::{
    Adapter, AdapterInfo, Adapters, Checks, Choice, Device, DeviceKind, DeviceOptions, Precision, install_hint,
};
use shadegrad::ops::is_experimental;
use shadegrad::{Error, Result};

use super::print::{say, warn};

#[derive(Args, Clone)]
pub struct DeviceArgs {
    /// auto, cpu (the slow f64 reference), or an adapter by its number or a part of its name, as `devices` lists them
    #[arg(long, default_value = "auto")]
    pub device: Choice,

    /// Keep bounds checks and loop guards in the kernels
    #[arg(long)]
    pub checked: bool,

    /// Let kernels use what wgpu calls experimental, where the adapter has it: cooperative matrices
    #[arg(long)]
    pub experimental: bool,
}

impl DeviceArgs {
    pub fn checks(&self) -> Checks {
        if self.checked { Checks::Checked } else { Checks::Unchecked }
    }

    /// All that they ask of a device whose kernels may round factors to `precision`.
    pub fn options(&self, precision: Precision) -> DeviceOptions {
        DeviceOptions { checks: self.checks(), precision, experimental: self.experimental }
    }

    /// As `open_with`, the adapter ready to work.
    pub fn device(&self, header: fn(String)) -> Result<Option<Device>> {
        let Some(adapter) = self.open_with(header)? else { return Ok(None) };
        let mut device = Device::open_with(&adapter, self.options(Precision::F32))?;
        if let Some(folder) = cache_folder() {
            device.cache_pipelines(&folder);
        }
        Ok(Some(device))
    }

    /// The adapter, its name and driver printed; `None` for the CPU reference.
    pub fn open(&self) -> Result<Option<Adapter>> {
        self.open_with(say)
    }

    /// As `open`, told through `header`.
    pub fn open_with(&self, header: fn(String)) -> Result<Option<Adapter>> {
        let adapter = Adapters::list().choose(&self.device)?;
        match &adapter {
            Some(Adapter { info, .. }) => {
                header(format!("adapter: {} · {} · {}", info.name, info.driver, info.backend));
                if info.kind == DeviceKind::Software {
                    warn("no GPU was found or asked for: this software adapter runs the shaders on the CPU, slowly");
                }
            }
            None => {
                header("adapter: none · CPU reference in f64".into());
                if self.device != Choice::Cpu {
                    warn("NO ADAPTER FOUND: this is the CPU reference, which is meant for checking and is very slow");
                    warn(install_hint());
                }
            }
        }
        Ok(adapter)
    }
}

/// Why a variant that somebody asked for by its name does not run on an adapter.
pub fn cannot_run(info: &AdapterInfo, variant: &str, experimental: bool) -> Error {
    if is_experimental(variant) && !experimental {
        return Error::usage(format!("the variant {variant} needs what wgpu calls experimental"))
            .with_hint("--experimental asks for it, where the adapter has it");
    }
    Error::gpu(format!("{} has not what the variant {variant} needs", info.name))
}
