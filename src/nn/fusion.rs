//! How much of a step one kernel does.

/// How much one op may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    /// Every layer's output and gradient is a tensor of its own: the oracle.
    None,
    /// Layers that follow one another and that one op can do together are one op, and so are a layer's gradients.
    Layers,
    /// So is what goes on from one layer's gradient to that of the next, or from the forward pass into the backward one.
    Full,
}

impl Fusion {
    /// From the most to the least.
    pub const ALL: [Self; 3] = [Self::Full, Self::Layers, Self::None];
}
