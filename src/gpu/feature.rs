//! What not every device has.

use naga::valid::Capabilities;

/// What kernels may need that not every device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    Subgroups,
    /// Numbers in half precision.
    F16,
    /// Matrices that the lanes of a subgroup have between them.
    CooperativeMatrices,
}

impl Feature {
    pub const ALL: [Self; 3] = [Self::Subgroups, Self::F16, Self::CooperativeMatrices];

    /// The words used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subgroups => "subgroup operations",
            Self::F16 => "f16",
            Self::CooperativeMatrices => "cooperative matrices",
        }
    }

    pub(super) fn capability(self) -> Capabilities {
        match self {
            Self::Subgroups => Capabilities::SUBGROUP,
            Self::F16 => Capabilities::SHADER_FLOAT16,
            Self::CooperativeMatrices => Capabilities::COOPERATIVE_MATRIX,
        }
    }
}
