//! Which GPUs there are and which one to use.

use crate::error::{Error, Result};

/// What kind of device an adapter is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    Discrete,
    Integrated,
    Virtual,
    /// The driver does not say.
    Other,
    /// A driver that runs shaders on the CPU.
    Software,
}

impl DeviceKind {
    /// The word used in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "cpu",
        }
    }
}

/// What an adapter says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Place in the list that `shadegrad devices` prints.
    pub index: usize,
    pub name: String,
    /// vulkan, metal or dx12.
    pub backend: String,
    pub kind: DeviceKind,
    /// Driver name and version.
    pub driver: String,
}

/// The limits that decide what fits, in bytes or counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterLimits {
    /// Bytes of one storage binding.
    pub max_binding_bytes: u64,
    /// Bytes of one buffer.
    pub max_buffer_bytes: u64,
    pub max_storage_buffers: u32,
    pub max_workgroups: u32,
    pub max_workgroup_size: u32,
    pub max_workgroup_memory_bytes: u32,
}

/// One adapter of this machine.
#[derive(Clone)]
pub struct Adapter {
    pub info: AdapterInfo,
    pub(super) inner: wgpu::Adapter,
}

impl Adapter {
    pub fn limits(&self) -> AdapterLimits {
        let limits = self.inner.limits();
        AdapterLimits {
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            max_workgroup_size: limits.max_compute_invocations_per_workgroup,
            max_workgroup_memory_bytes: limits.max_compute_workgroup_storage_size,
        }
    }

    /// Names of the features that matter to kernels and that this adapter has.
    pub fn features(&self) -> Vec<&'static str> {
        let features = self.inner.features();
        [
            ("timestamp-query", wgpu::Features::TIMESTAMP_QUERY),
            ("timestamp-query-inside-passes", wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            ("shader-f16", wgpu::Features::SHADER_F16),
            ("subgroup", wgpu::Features::SUBGROUP),
            ("cooperative-matrix", wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
            ("pipeline-cache", wgpu::Features::PIPELINE_CACHE),
            ("immediates", wgpu::Features::IMMEDIATES),
        ]
        .into_iter()
        .filter_map(|(name, feature)| features.contains(feature).then_some(name))
        .collect()
    }
}

/// What `--device` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The best there is.
    Auto,
    /// The CPU reference; no adapter.
    Cpu,
    /// A place in the list; never falls back.
    Index(usize),
    /// A part of a name, in any case; never falls back.
    Name(String),
}

impl std::str::FromStr for Choice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            _ => text.parse().map_or_else(|_| Self::Name(text.into()), Self::Index),
        })
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Cpu => write!(f, "cpu"),
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

/// The adapters of this machine.
pub struct Adapters(Vec<Adapter>);

impl Adapters {
    /// Asks every backend; an adapter that cannot run compute shaders is left out.
    pub fn list() -> Self {
        let descriptor = wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12,
            // No validation layers: they are for those who debug drivers, and slow.
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        };
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let capable = adapters.into_iter().filter(|adapter| {
            adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        });
        let adapters = capable.enumerate().map(|(index, inner)| Adapter { info: describe(index, &inner), inner });
        Self(adapters.collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Adapter> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The adapter that `choice` names; `None` for the CPU reference, and for `Auto` where there is no adapter at all.
    ///
    /// # Errors
    /// A place or a name that is not in the list.
    pub fn choose(mut self, choice: &Choice) -> Result<Option<Adapter>> {
        let found = match choice {
            Choice::Cpu => return Ok(None),
            Choice::Auto => {
                let best = (0..self.0.len()).min_by_key(|&index| self.0[index].info.kind);
                match best {
                    Some(index) => Some(index),
                    None => return Ok(None),
                }
            }
            // A number that is no place in the list may be the one in a name: 3090.
            Choice::Index(index) if *index >= self.0.len() => self.named(&index.to_string()),
            Choice::Index(index) => Some(*index),
            Choice::Name(name) => self.named(name),
        };
        match found {
            Some(index) => Ok(Some(self.0.swap_remove(index))),
            None => Err(Error::gpu(format!("no device {choice}")).with_hint(self.suggestion())),
        }
    }

    fn named(&self, part: &str) -> Option<usize> {
        let part = part.to_lowercase();
        let matches = |adapter: &Adapter| !part.is_empty() && adapter.info.name.to_lowercase().contains(&part);
        self.0.iter().position(matches)
    }

    fn suggestion(&self) -> String {
        if self.is_empty() {
            return format!("there is no adapter on this machine: {}", install_hint());
        }
        let list: Vec<String> =
            self.0.iter().map(|adapter| format!("{} {}", adapter.info.index, adapter.info.name)).collect();
        format!("the devices are: {}; or cpu", list.join(", "))
    }
}

/// How to get a driver on this system, in one command where there is one.
pub fn install_hint() -> &'static str {
    if cfg!(target_os = "linux") {
        "install a Vulkan driver: `sudo apt-get install mesa-vulkan-drivers` (Debian, Ubuntu), \
         `sudo dnf install mesa-vulkan-drivers` (Fedora), `sudo pacman -S vulkan-swrast` (Arch)"
    } else if cfg!(target_os = "windows") {
        "install your GPU's driver; Windows itself has WARP, a software adapter for DX12"
    } else {
        "install your GPU's driver"
    }
}

fn describe(index: usize, adapter: &wgpu::Adapter) -> AdapterInfo {
    let info = adapter.get_info();
    let driver = [info.driver.trim(), info.driver_info.trim()].into_iter().filter(|part| !part.is_empty());
    AdapterInfo {
        index,
        name: info.name.clone(),
        backend: info.backend.to_str().into(),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => DeviceKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => DeviceKind::Integrated,
            wgpu::DeviceType::VirtualGpu => DeviceKind::Virtual,
            wgpu::DeviceType::Cpu => DeviceKind::Software,
            wgpu::DeviceType::Other => DeviceKind::Other,
        },
        driver: driver.collect::<Vec<_>>().join(" "),
    }
}
