//! `shadegrad devices`.

use std::path::Path;

use clap::Args;
use serde_json::json;
use shadegrad::gpu::{Adapter, Adapters, Checks, Device, install_hint};
use shadegrad::units::bytes;
use shadegrad::{Error, Result, check};

use super::json;
use super::print::say;

/// List the adapters of this machine: driver, limits, features, and whether the kernels compute what they should there.
#[derive(Args)]
#[command(after_help = "Example:\n  shadegrad devices --json")]
pub struct DevicesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &DevicesArgs) -> Result<()> {
    let adapters = Adapters::list();
    let tested: Vec<(&Adapter, Result<usize>)> = adapters.iter().map(|adapter| (adapter, self_test(adapter))).collect();
    if arguments.json {
        let list: Vec<_> = tested.iter().map(|(adapter, result)| as_json(adapter, result)).collect();
        json::write(&list, Path::new("-"))?;
    } else {
        tested.iter().for_each(|(adapter, result)| describe(adapter, result));
        say("cpu: the f64 reference, always there (--device cpu)");
    }
    if adapters.is_empty() && !arguments.json {
        return Err(Error::gpu("no adapter on this machine").with_hint(install_hint()));
    }
    match tested.iter().find(|(_, result)| result.is_err()) {
        Some((adapter, _)) => Err(Error::check(format!("the self-test failed on {}", adapter.info.name))),
        None => Ok(()),
    }
}

fn self_test(adapter: &Adapter) -> Result<usize> {
    check::self_test(&Device::open(adapter, Checks::Checked)?)
}

fn describe(adapter: &Adapter, result: &Result<usize>) {
    let (info, limits) = (&adapter.info, adapter.limits());
    say(format!("{}: {} · {} · {} · {}", info.index, info.name, info.driver, info.backend, info.kind.name()));
    say(format!(
        "   one tensor: {} · workgroup: {} invocations, {} · storage buffers: {}",
        bytes(limits.max_binding_bytes.min(limits.max_buffer_bytes)),
        limits.max_workgroup_size,
        bytes(limits.max_workgroup_memory_bytes.into()),
        limits.max_storage_buffers
    ));
    say(format!("   features: {}", adapter.features().join(", ")));
    say(match result {
        Ok(cases) => format!("   self-test: pass ({cases} kernels)"),
        Err(error) => format!("   self-test: FAIL ({error})"),
    });
}

fn as_json(adapter: &Adapter, result: &Result<usize>) -> serde_json::Value {
    let (info, limits) = (&adapter.info, adapter.limits());
    json!({
        "index": info.index,
        "name": info.name,
        "backend": info.backend,
        "type": info.kind.name(),
        "driver": info.driver,
        "limits": {
            "max_binding_bytes": limits.max_binding_bytes,
            "max_buffer_bytes": limits.max_buffer_bytes,
            "max_storage_buffers": limits.max_storage_buffers,
            "max_workgroups": limits.max_workgroups,
            "max_workgroup_size": limits.max_workgroup_size,
            "max_workgroup_memory_bytes": limits.max_workgroup_memory_bytes,
        },
        "features": adapter.features(),
        "self_test": match result {
            Ok(_) => "pass".into(),
            Err(error) => format!("fail: {error}"),
        },
    })
}
