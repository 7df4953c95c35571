//! What naga reads out of a WGSL file: bindings, params, workgroup sizes, tile constants. Read once, never typed twice.

use std::borrow::Cow;
use std::collections::BTreeMap;

use naga::front::wgsl;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, ScalarKind, StorageAccess, TypeInner};

use super::feature::Feature;
use crate::error::{Error, Result};

/// Appended to every shader file.
pub const COMMON: &str = include_str!("../../shaders/common.wgsl");

/// What WGSL wants at the head of a file with subgroup operations.
const ENABLE_SUBGROUPS: &str = "enable subgroups;";

/// How a kernel uses a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Uniform,
    Read,
    ReadWrite,
}

/// A buffer that an entry point uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub name: String,
    pub group: u32,
    pub binding: u32,
    pub access: Access,
    /// Fields in order, for a uniform struct.
    pub fields: Vec<Field>,
    /// Bytes of a uniform struct; 0 for a storage array.
    pub bytes: u32,
    /// What a storage array is made of, vectors counted as their components: u32, i32, f32 or other.
    pub element: &'static str,
    /// Line of its declaration.
    pub line: u32,
}

/// A field of a params struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub offset: u32,
    /// u32, f32 or i32.
    pub kind: &'static str,
}

/// A `const` or `override` with a number for a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Constant {
    /// Fixed in the file.
    Const(f64),
    /// May be specialised; the value is the default.
    Override(f64),
}

impl Constant {
    pub fn value(self) -> f64 {
        match self {
            Self::Const(value) | Self::Override(value) => value,
        }
    }
}

/// An entry point and the buffers it uses, by binding number.
#[derive(Clone, Debug)]
pub struct EntryPoint {
    pub name: String,
    pub bindings: Vec<Binding>,
}

/// Invocations of a workgroup, and bytes of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workgroup {
    pub invocations: u64,
    pub bytes: u64,
}

/// Everything the host wants to know of a WGSL file.
pub struct Reflection {
    /// The whole source as naga takes it, common.wgsl included.
    pub source: String,
    /// What it needs that a device may not have.
    pub needs: Vec<Feature>,
    pub entry_points: Vec<EntryPoint>,
    pub constants: BTreeMap<String, Constant>,
    module: naga::Module,
    info: ModuleInfo,
}

impl Reflection {
    /// Parses and validates `text` with common.wgsl appended. `name` is for messages.
    ///
    /// # Errors
    /// What naga says, with the line.
    pub fn new(name: &str, text: &str) -> Result<Self> {
        // naga knows the operations, but not yet the directive that WGSL wants before them; every line stays where it is.
        let source = format!("{text}\n{COMMON}").replace(ENABLE_SUBGROUPS, "");
        let module =
            wgsl::parse_str(&source).map_err(|error| invalid(&error.emit_to_string_with_path(&source, name)))?;
        let validate = |features: &[Feature]| {
            let capabilities = features.iter().map(|feature| feature.capability());
            let capabilities = capabilities.fold(Capabilities::default(), Capabilities::union);
            Validator::new(ValidationFlags::all(), capabilities).validate(&module).map_err(Box::new)
        };
        let info = validate(&Feature::ALL).map_err(|error| invalid(&error.emit_to_string_with_path(&source, name)))?;
        let mut needs = Vec::new();
        if validate(&[]).is_err() {
            needs.extend(Feature::ALL);
            needs.retain(|left_out| {
                let others: Vec<_> = Feature::ALL.into_iter().filter(|feature| feature != left_out).collect();
                validate(&others).is_err()
            });
        }
        let entry_points = module.entry_points.iter().enumerate().map(|(index, entry)| EntryPoint {
            name: entry.name.clone(),
            bindings: bindings(&module, &source, info.get_entry_point(index)),
        });
        let entry_points = entry_points.collect();
        let constants = constants(&module);
        Ok(Self { source, needs, entry_points, constants, module, info })
    }

    pub fn entry_point(&self, name: &str) -> Option<&EntryPoint> {
        self.entry_points.iter().find(|entry| entry.name == name)
    }

    /// The workgroup of an entry point with its overrides at the given values, or their defaults.
    ///
    /// # Errors
    /// An override without a value.
    pub fn workgroup(&self, entry_point: &str, constants: &[(&str, f64)]) -> Result<Workgroup> {
        let (module, info) = self.specialised(entry_point, constants)?;
        let Some(index) = module.entry_points.iter().position(|entry| entry.name == entry_point) else {
            return Ok(Workgroup { invocations: 1, bytes: 0 });
        };
        let used = info.get_entry_point(index);
        let globals = module.global_variables.iter();
        let workgroup =
            globals.filter(|(handle, variable)| variable.space == AddressSpace::WorkGroup && !used[*handle].is_empty());
        Ok(Workgroup {
            invocations: module.entry_points[index].workgroup_size.map(u64::from).iter().product(),
            bytes: workgroup
                .map(|(_, variable)| u64::from(module.types[variable.ty].inner.size(module.to_ctx())))
                .sum(),
        })
    }

    /// naga's module for one entry point, overrides replaced by the given values, or their defaults.
    ///
    /// # Errors
    /// An override without a value.
    pub fn specialised(
        &self,
        entry_point: &str,
        constants: &[(&str, f64)],
    ) -> Result<(Cow<'_, naga::Module>, Cow<'_, ModuleInfo>)> {
        naga::back::pipeline_constants::process_overrides(
            &self.module,
            &self.info,
            Some((naga::ShaderStage::Compute, entry_point)),
            &constants.iter().map(|&(name, value)| (name.to_string(), value)).collect(),
        )
        .map_err(|error| Error::usage(format!("{entry_point}: {error}")))
    }
}

/// A compiler's message, which names the line, as ours.
fn invalid(message: &str) -> Error {
    Error::usage(message.trim().strip_prefix("error: ").unwrap_or(message.trim()))
}

fn bindings(module: &naga::Module, source: &str, info: &naga::valid::FunctionInfo) -> Vec<Binding> {
    let used = module.global_variables.iter().filter(|(handle, _)| !info[*handle].is_empty());
    let mut bindings: Vec<Binding> = used
        .filter_map(|(handle, variable)| {
            let resource = variable.binding?;
            let line = module.global_variables.get_span(handle).location(source).line_number;
            let access = match variable.space {
                AddressSpace::Uniform => Access::Uniform,
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::ReadWrite,
                _ => Access::Read,
            };
            let inner = &module.types[variable.ty].inner;
            let (fields, bytes) = match inner {
                TypeInner::Struct { members, span } => {
                    (members.iter().map(|member| field(module, member)).collect(), *span)
                }
                _ => (Vec::new(), 0),
            };
            let name = variable.name.clone().unwrap_or_default();
            Some(Binding {
                name,
                group: resource.group,
                binding: resource.binding,
                access,
                fields,
                bytes,
                element: element(module, inner),
                line,
            })
        })
        .collect();
    bindings.sort_by_key(|binding| (binding.group, binding.binding));
    bindings
}

fn element(module: &naga::Module, inner: &TypeInner) -> &'static str {
    let TypeInner::Array { base, .. } = inner else { return "other" };
    match module.types[*base].inner {
        TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } | TypeInner::Atomic(scalar) => name_of(scalar),
        _ => "other",
    }
}

fn name_of(scalar: naga::Scalar) -> &'static str {
    match scalar {
        naga::Scalar { kind: ScalarKind::Uint, width: 4 } => "u32",
        naga::Scalar { kind: ScalarKind::Sint, width: 4 } => "i32",
        naga::Scalar { kind: ScalarKind::Float, width: 4 } => "f32",
        _ => "other",
    }
}

fn field(module: &naga::Module, member: &naga::StructMember) -> Field {
    let kind = match module.types[member.ty].inner {
        TypeInner::Scalar(scalar) => name_of(scalar),
        _ => "other",
    };
    Field { name: member.name.clone().unwrap_or_default(), offset: member.offset, kind }
}

fn constants(module: &naga::Module) -> BTreeMap<String, Constant> {
    let number = |handle: naga::Handle<naga::Expression>| match module.global_expressions[handle] {
        naga::Expression::Literal(literal) => match literal {
            naga::Literal::U32(value) => Some(f64::from(value)),
            naga::Literal::I32(value) => Some(f64::from(value)),
            naga::Literal::F32(value) => Some(f64::from(value)),
            naga::Literal::Bool(value) => Some(f64::from(u8::from(value))),
            _ => None,
        },
        _ => None,
    };
    let mut found = BTreeMap::new();
    for (_, constant) in module.constants.iter() {
        if let (Some(name), Some(value)) = (&constant.name, number(constant.init)) {
            found.insert(name.clone(), Constant::Const(value));
        }
    }
    for (_, constant) in module.overrides.iter() {
        if let (Some(name), Some(value)) = (&constant.name, constant.init.and_then(number)) {
            found.insert(name.clone(), Constant::Override(value));
        }
    }
    found
}
