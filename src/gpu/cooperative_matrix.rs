//! The matrices that the lanes of a subgroup multiply together.

use super::Precision;

/// Matrices of `side` × `side` that an adapter multiplies, factors of this precision, sums of f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CooperativeMatrix {
    pub side: u32,
    pub factors: Precision,
}

impl CooperativeMatrix {
    /// `None` for what no kernel here is made of.
    pub(super) fn new(properties: &wgpu::CooperativeMatrixProperties) -> Option<Self> {
        let wgpu::CooperativeMatrixProperties { m_size, n_size, k_size, ab_type, cr_type, .. } = *properties;
        let factors = match ab_type {
            wgpu::CooperativeScalarType::F16 => Precision::F16,
            wgpu::CooperativeScalarType::F32 => Precision::F32,
            _ => return None,
        };
        let fits = m_size == n_size && n_size == k_size && cr_type == wgpu::CooperativeScalarType::F32;
        fits.then_some(Self { side: m_size, factors })
    }
}
