//! A shader in the languages of the three backends.

use naga::back::{hlsl, msl, spv};
use shadegrad::gpu::{Feature, Reflection};

/// One entry point with its overrides at the given values, or their defaults.
pub struct Translations {
    pub spirv: Vec<u32>,
    pub msl: String,
    /// `None` for cooperative matrices, for which naga has no HLSL.
    pub hlsl: Option<String>,
}

impl Translations {
    /// Fails where a writer refuses the shader.
    pub fn of(shader: &Reflection, entry_point: &str, constants: &[(&str, f64)]) -> Self {
        let stage = naga::ShaderStage::Compute;
        let (module, info) = shader.specialised(entry_point, constants).unwrap_or_else(|error| panic!("{error}"));

        let pipeline = spv::PipelineOptions { shader_stage: stage, entry_point: entry_point.into() };
        // The first version with subgroups; that of Vulkan 1.1.
        let options = spv::Options { lang_version: (1, 3), ..Default::default() };
        let spirv = spv::write_vec(&module, &info, &options, Some(&pipeline));
        let spirv = spirv.unwrap_or_else(|error| panic!("{entry_point}, SPIR-V: {error}"));

        let options = msl::Options { fake_missing_bindings: true, lang_version: (2, 4), ..Default::default() };
        let pipeline = msl::PipelineOptions { entry_point: Some((stage, entry_point.into())), ..Default::default() };
        let msl = msl::write_string(&module, &info, &options, &pipeline);
        let msl = msl.unwrap_or_else(|error| panic!("{entry_point}, MSL: {error}")).0;

        if shader.needs.contains(&Feature::CooperativeMatrices) {
            return Self { spirv, msl, hlsl: None };
        }
        let options = hlsl::Options {
            // The first with subgroups, there called waves, is 6.0, with f16 6.2.
            shader_model: hlsl::ShaderModel::V6_2,
            fake_missing_bindings: true,
            special_constants_binding: Some(hlsl::BindTarget { space: 9, register: 0, ..Default::default() }),
            ..Default::default()
        };
        let pipeline = hlsl::PipelineOptions { entry_point: Some((stage, entry_point.into())) };
        let mut text = String::new();
        let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
        written.unwrap_or_else(|error| panic!("{entry_point}, HLSL: {error}"));
        Self { spirv, msl, hlsl: Some(text) }
    }
}
