//! The bench that a kernel is tried on: buffers between guard bands, everything poisoned that is not an input.

use crate::error::Result;
use crate::gpu::{Buffer, Device, Program, StepRow, StepTable};
use crate::ops::{Lowering, Op};

/// Elements before and after every operand that no kernel may touch.
const GUARD: usize = 256;

/// What outputs, scratch memory and guard bands hold before a run. Two patterns, because a kernel that leaves an element out, or reads
/// one before it writes it, could be right by chance: a NaN, and −6·10¹⁸.
pub const POISONS: [u32; 2] = [0x7fc0_dead, 0xdead_beef];

/// One variant of an op on a device, with buffers of its own: operands, then scratch, each between guard bands.
pub struct Rig<'a> {
    device: &'a Device,
    operands: usize,
    buffers: Vec<(Buffer, usize)>,
    program: Program,
    table: StepTable,
}

/// What a run left behind.
pub struct Contents {
    /// Bits, by operand.
    pub operands: Vec<Vec<u32>>,
    /// A guard band that was written to.
    pub touched: Option<String>,
}

impl<'a> Rig<'a> {
    /// # Errors
    /// A variant that the op does not have, or what the driver refuses.
    pub fn new(device: &'a Device, op: &dyn Op, variant: &str, step: &StepRow) -> Result<Self> {
        Self::with_lowering(device, op, &op.lower(variant)?, step)
    }

    /// The same with kernels that need not be the op's own.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn with_lowering(device: &'a Device, op: &dyn Op, lowering: &Lowering, step: &StepRow) -> Result<Self> {
        let operands = op.operands();
        let names = operands.iter().map(|operand| (operand.name, operand.length));
        let buffers = names.chain(lowering.scratch.iter().map(|&length| ("scratch", length)));
        let buffers = buffers
            .map(|(name, length)| Ok((Buffer::new(device, name, length + 2 * GUARD)?, length)))
            .collect::<Result<Vec<_>>>()?;
        // A binding reaches over the band behind its operand: the driver's own bounds checks would hide what the band is there to show.
        let slices: Vec<_> = buffers.iter().map(|(buffer, length)| buffer.slice(GUARD, length + GUARD)).collect();
        let dispatches: Vec<_> =
            lowering.dispatches.iter().map(|dispatch| (dispatch.clone(), slices.clone())).collect();
        let program = Program::new(device, &dispatches)?;
        let mut table = StepTable::new(device, 1)?;
        table.write(device, &[*step]);
        Ok(Self { device, operands: operands.len(), buffers, program, table })
    }

    /// Runs once from `inputs`, bits by operand, empty for what is only written; everything else starts as `poison`.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn run(&self, inputs: &[Vec<u32>], poison: u32) -> Result<Contents> {
        for (place, (buffer, length)) in self.buffers.iter().enumerate() {
            let mut bits = vec![poison; length + 2 * GUARD];
            if let Some(input) = inputs.get(place).filter(|input| !input.is_empty()) {
                bits[GUARD..GUARD + length].copy_from_slice(input);
            }
            self.device.write(buffer, 0, &bits);
        }
        self.device.submit(|encoder| self.program.record(encoder, &self.table, 1))?;

        let mut contents = Contents { operands: Vec::with_capacity(self.operands), touched: None };
        for (place, (buffer, length)) in self.buffers.iter().enumerate() {
            let mut bits: Vec<u32> = self.device.read(buffer, 0, length + 2 * GUARD)?;
            if let Some(at) = (0..GUARD).chain(GUARD + length..bits.len()).find(|&at| bits[at] != poison) {
                let distance = at as i64 - GUARD as i64;
                contents.touched.get_or_insert(format!("{}[{distance}] of {length} was written to", buffer.name()));
            }
            if place < self.operands {
                bits.truncate(GUARD + length);
                bits.drain(..GUARD);
                contents.operands.push(bits);
            }
        }
        Ok(contents)
    }
}
