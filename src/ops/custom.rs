//! A kernel from a user's own WGSL file, run in place of one of ours: bindings by name, params by field name, the grid from the
//! constants that the file declares.

use std::path::{Path, PathBuf};

use super::contract::{Contract, element_name};
use super::{Access, Lowering, Op, bindings_of};
use crate::bounded;
use crate::error::{Error, Result};
use crate::gpu::{self, Dispatch, EntryPoint, ParamsField, Shader};

/// Bytes of a shader file; a real one has a few thousand.
const MAX_BYTES: u64 = 1 << 20;

/// A WGSL file that fits the contract of an op.
#[derive(Clone, Debug)]
pub struct CustomKernel {
    op: &'static str,
    path: PathBuf,
    shader: &'static Shader,
    entry_point: &'static str,
    /// The file's params struct.
    fields: &'static [ParamsField],
    params_bytes: usize,
    workgroup_size: u64,
}

impl CustomKernel {
    /// Reads a file and holds it against the contract of `op`. The parsed shader stays for the rest of the process.
    ///
    /// # Errors
    /// A file that cannot be read, is no valid WGSL, or names something that the contract does not have: each with the file's line.
    pub fn load(path: &Path, op: &dyn Op) -> Result<Self> {
        let text = bounded::read_text(path, MAX_BYTES).map_err(Error::file("read", path))?;
        Self::parse(path, &text, op)
    }

    /// As `load`, from a text; `path` is for messages.
    ///
    /// # Errors
    /// As `load`.
    pub fn parse(path: &Path, text: &str, op: &dyn Op) -> Result<Self> {
        let contract = Contract::of(op)?;
        let file = path.display().to_string();
        let shader = Shader::leak(&file, text)?;
        let reflection = shader.reflection();
        let refuse = |line: u32, problem: String| Error::usage(format!("{file}:{line}: {problem}"));

        let names: Vec<_> = reflection.entry_points.iter().map(|entry| entry.name.as_str()).collect();
        let entry: &'static EntryPoint = match (reflection.entry_point(op.name()), reflection.entry_points.as_slice()) {
            (Some(entry), _) => entry,
            (None, [only]) => only,
            (None, []) => return Err(refuse(1, "no compute entry point (expected one with @compute)".into())),
            _ => {
                let problem =
                    format!("several entry points (got {}, expected one called {})", names.join(", "), op.name());
                return Err(refuse(1, problem));
            }
        };

        for binding in entry.bindings.iter().filter(|binding| binding.access != gpu::Access::Uniform) {
            let Some((_, operand)) = contract.operand(&binding.name) else {
                let known: Vec<_> = contract.operands.iter().map(|operand| operand.name).collect();
                let problem =
                    format!("no operand `{}` in {} (expected {})", binding.name, contract.op, known.join(", "));
                return Err(refuse(binding.line, problem));
            };
            if binding.group != 0 {
                let problem = format!("`{}` is in group {}, expected @group(0)", binding.name, binding.group);
                return Err(refuse(binding.line, problem));
            }
            let expected = element_name(operand.element);
            if binding.element != expected {
                let problem = format!("`{}` is made of {}, expected array<{expected}>", binding.name, binding.element);
                return Err(refuse(binding.line, problem));
            }
            let writes = binding.access == gpu::Access::ReadWrite;
            if writes && operand.access == Access::Read {
                let problem = format!("`{}` is an input, expected var<storage, read>", binding.name);
                return Err(refuse(binding.line, problem));
            }
            if !writes && operand.access != Access::Read {
                let problem = format!("`{}` has to be written, expected var<storage, read_write>", binding.name);
                return Err(refuse(binding.line, problem));
            }
        }
        for operand in contract.operands.iter().filter(|operand| operand.access != Access::Read) {
            if !entry.bindings.iter().any(|binding| binding.name == operand.name) {
                return Err(refuse(1, format!("{} never writes `{}`", entry.name, operand.name)));
            }
        }

        let uniforms =
            entry.bindings.iter().filter(|binding| binding.access == gpu::Access::Uniform && binding.group == 0);
        let (mut fields, mut params_bytes) = (Vec::new(), 0);
        for (place, binding) in uniforms.enumerate() {
            if place > 0 {
                return Err(refuse(
                    binding.line,
                    format!("a second uniform `{}` (expected one params struct)", binding.name),
                ));
            }
            for field in &binding.fields {
                match contract.field(&field.name) {
                    Some(known) if known.kind == field.kind => {
                        fields.push((known.name, field.offset as usize, known.kind));
                    }
                    Some(known) => {
                        let problem = format!("`{}` is {}, expected {}", field.name, field.kind, known.kind);
                        return Err(refuse(binding.line, problem));
                    }
                    None => {
                        let known: Vec<_> = contract.fields.iter().map(|field| field.name).collect();
                        let problem = format!(
                            "no `{}` among the params of {} (expected {})",
                            field.name,
                            contract.op,
                            known.join(", ")
                        );
                        return Err(refuse(binding.line, problem));
                    }
                }
            }
            params_bytes = binding.bytes as usize;
        }
        for (line, tile) in tiles(text) {
            let known: Vec<_> = contract.axes.iter().map(|(axis, _)| format!("TILE_{axis}")).collect();
            if !known.iter().any(|known| known == tile) {
                let problem = format!("no axis for `{tile}` (expected {})", known.join(", "));
                return Err(refuse(line, problem).with_hint("such names are for the grid: give it another one"));
            }
            // WGSL's compiler forgets a constant without a type, and knows no value of one that is worked out from an override.
            if !reflection.constants.contains_key(tile) {
                let problem =
                    format!("no value of `{tile}` (expected a type and a number, as in `const {tile}: u32 = 4u;`)");
                return Err(refuse(line, problem));
            }
        }
        let workgroup_size = reflection.workgroup(&entry.name, &[])?.invocations;
        let counted = u64::from(shader.constant("WORKGROUP_SIZE"));
        if let Some(line) =
            text.lines().position(|line| line.contains("invocation_index(")).filter(|_| workgroup_size != counted)
        {
            let problem = format!(
                "invocation_index counts workgroups of {counted}, yours has {workgroup_size}: take \
                 workgroup_index(workgroup, grid) * {workgroup_size}u + local"
            );
            return Err(refuse(line as u32 + 1, problem));
        }
        Ok(Self {
            op: op.name(),
            path: path.into(),
            shader,
            entry_point: &entry.name,
            fields: fields.leak(),
            params_bytes,
            workgroup_size,
        })
    }

    /// The op it stands in for.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name, for tables.
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(|| "shader".into(), |name| name.to_string_lossy().into_owned())
    }

    /// The file as it was read.
    pub fn text(&self) -> &'static str {
        self.shader.file()
    }

    /// One dispatch over all outputs of `op`: a workgroup for each tile, or, where the file declares no tile, an invocation for each
    /// output.
    ///
    /// # Errors
    /// An op of another name; a tile of 0.
    pub fn lower(&self, op: &dyn Op) -> Result<Lowering> {
        if op.name() != self.op {
            return Err(Error::usage(format!("{} is a kernel of {}, not of {}", self.name(), self.op, op.name())));
        }
        let contract = Contract::of(op)?;
        let mut params = vec![0; self.params_bytes];
        for &(name, offset, _) in self.fields {
            let bits = contract.field(name).map_or(0, |field| field.bits);
            params[offset..offset + 4].copy_from_slice(&bits.to_le_bytes());
        }
        let constants = &self.shader.reflection().constants;
        let tiles: Vec<_> =
            contract.axes.iter().map(|(axis, size)| (constants.get(&format!("TILE_{axis}")), *size)).collect();
        let workgroups = if tiles.iter().any(|(tile, _)| tile.is_some()) {
            let mut workgroups = 1u64;
            for (tile, size) in tiles {
                let tile = tile.map_or(1, |tile| tile.value() as u64);
                if tile == 0 {
                    return Err(Error::usage(format!("{}: a TILE_ constant is 0, expected at least 1", self.name())));
                }
                workgroups = workgroups.saturating_mul(u64::from(size).div_ceil(tile));
            }
            workgroups
        } else {
            contract.outputs().div_ceil(self.workgroup_size.max(1))
        };
        let bindings = bindings_of(&contract.operands);
        let dispatch = Dispatch {
            shader: self.shader,
            entry_point: self.entry_point,
            constants: Vec::new(),
            params,
            fields: self.fields,
            bindings,
            workgroups,
        };
        Ok(dispatch.into())
    }
}

/// The `TILE_` constants that a file declares, each with its line.
fn tiles(text: &str) -> impl Iterator<Item = (u32, &str)> {
    text.lines().zip(1..).filter_map(|(line, number)| {
        let declaration = line.trim_start();
        let rest = declaration.strip_prefix("const ").or_else(|| declaration.strip_prefix("override "))?.trim_start();
        let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        let name = &rest[..length];
        let axis = name.strip_prefix("TILE_")?;
        axis.chars().all(|c| c.is_ascii_uppercase()).then_some((number, name))
    })
}
