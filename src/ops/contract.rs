//! What a kernel of an op is given and has to do, for people who write their own.

use super::{Access, Element, Op, Operand, PLAIN};
use crate::error::Result;

/// A field that a kernel's params struct may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractField {
    pub name: &'static str,
    /// u32 or f32.
    pub kind: &'static str,
    pub bits: u32,
}

/// Names, sizes and values that a kernel of one op can rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    pub op: &'static str,
    pub operands: Vec<Operand>,
    /// What the params struct may ask for, by name; in any order, any part of it.
    pub fields: Vec<ContractField>,
    /// The output's axes and their sizes. A constant `TILE_<AXIS>` in the shader says how many of them one workgroup owns.
    pub axes: Vec<(&'static str, u32)>,
}

impl Contract {
    /// # Errors
    /// An op whose sizes are beyond what its own plain kernel is made for.
    pub fn of(op: &dyn Op) -> Result<Self> {
        let lowering = op.lower(PLAIN)?;
        let fields = lowering.dispatches.first().map(|dispatch| {
            let bits = |name: &str, offset: usize| match name {
                // Our own kernels may be given a slice of a long sum; others own all of it.
                "slices" => 1,
                "slice_length" => u32::MAX,
                _ => dispatch.params[offset..].first_chunk().map_or(0, |&bytes| u32::from_le_bytes(bytes)),
            };
            let field = |&(name, offset, kind)| ContractField { name, kind, bits: bits(name, offset) };
            dispatch.fields.iter().map(field).collect()
        });
        Ok(Self { op: op.name(), operands: op.operands(), fields: fields.unwrap_or_default(), axes: op.axes() })
    }

    pub fn field(&self, name: &str) -> Option<&ContractField> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub fn operand(&self, name: &str) -> Option<(usize, &Operand)> {
        self.operands.iter().enumerate().find(|(_, operand)| operand.name == name)
    }

    /// Elements of the output.
    pub fn outputs(&self) -> u64 {
        self.axes.iter().map(|&(_, size)| u64::from(size)).product()
    }
}

/// The WGSL name of an element.
pub fn element_name(element: Element) -> &'static str {
    match element {
        Element::F32 => "f32",
        Element::U32 => "u32",
    }
}

/// The WGSL type of an operand.
pub fn wgsl_type(operand: &Operand) -> String {
    format!("array<{}>", element_name(operand.element))
}

/// The WGSL address space of an operand.
pub fn wgsl_space(operand: &Operand) -> &'static str {
    match operand.access {
        Access::Read => "storage, read",
        Access::Write | Access::ReadWrite => "storage, read_write",
    }
}
