//! Ops that treat every element like the others: one an invocation, or four where their number allows.

use super::{Lowering, Op, PLAIN, VEC4, bindings_of, unknown_variant};
use crate::error::Result;
use crate::gpu::{Dispatch, Params, Shader};

/// The variants of an op over `length` elements.
pub fn variants(length: u32) -> &'static [&'static str] {
    if length.is_multiple_of(4) { &[PLAIN, VEC4] } else { &[PLAIN] }
}

/// The kernel of one of them: the shader and entry point of each, one invocation for each of `length` elements or for FOURS times four. It
/// binds the op's operands by their names.
pub fn lower<P: Params>(
    op: &dyn Op,
    variant: &str,
    [plain, vec4]: [(&'static Shader, &'static str); 2],
    params: &P,
    length: u32,
) -> Result<Lowering> {
    let ((shader, entry_point), invocations) = match variant {
        PLAIN => (plain, length),
        VEC4 if op.variants().contains(&VEC4) => (vec4, (length / 4).div_ceil(vec4.0.constant("FOURS"))),
        _ => return Err(unknown_variant(op, variant)),
    };
    let bindings = bindings_of(&op.operands());
    Ok(Dispatch::new(shader, entry_point, params, &bindings, invocations.into()).into())
}
