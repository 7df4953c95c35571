//! A user's own WGSL file in place of a kernel: what fits the contract runs, what does not is refused with the line.

mod common;

use std::path::Path;

use common::adapter;
use shadegrad::cases;
use shadegrad::check::{POISONS, Rig};
use shadegrad::gpu::{Checks, Device, Feature, Params, Program, StepTable};
use shadegrad::ops::PLAIN;
use shadegrad::ops::custom::CustomKernel;
use shadegrad::ops::matmul::MatmulParams;

const NAIVE: &str = r#"
struct Sizes { n: u32, m: u32, k: u32, b_stride_n: u32, b_stride_k: u32, a_stride_k: u32, a_stride_m: u32 }
@group(0) @binding(7) var<uniform> sizes: Sizes;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(0) var<storage, read_write> output: array<f32>;

const TILE_M: u32 = 4u;
const TILE_N: u32 = 8u;

@compute @workgroup_size(8, 4)
fn mine(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_id) local: vec3<u32>) {
  let tile = workgroup_index(workgroup, grid);
  let tiles_n = (sizes.n + TILE_N - 1u) / TILE_N;
  let m = tile / tiles_n * TILE_M + local.y;
  let n = tile % tiles_n * TILE_N + local.x;
  if (m >= sizes.m || n >= sizes.n) {
    return;
  }
  var sum = 0.0;
  for (var k = 0u; k < sizes.k; k++) {
    sum += a[m * sizes.a_stride_m + k * sizes.a_stride_k] * b[k * sizes.b_stride_k + n * sizes.b_stride_n];
  }
  output[m * sizes.n + n] = sum;
}
"#;

fn matmul() -> cases::Case {
    cases::of("matmul").remove(0)
}

fn parse(text: &str) -> Result<CustomKernel, String> {
    CustomKernel::parse(Path::new("mine.wgsl"), text, &*matmul().op).map_err(|error| error.to_string())
}

/// What a lowering leaves in the operands of a case.
fn outputs(device: &Device, case: &cases::Case, lowering: shadegrad::ops::Lowering) -> Vec<Vec<u32>> {
    Rig::with_lowering(device, &*case.op, &lowering, &case.step)
        .unwrap()
        .run(&case.truth().inputs, POISONS[0])
        .unwrap()
        .operands
}

#[test]
fn a_tiled_matmul_with_names_in_any_order_gives_the_plain_result() {
    let device = Device::open(&adapter(), Checks::Checked).unwrap();
    let kernel = parse(NAIVE).unwrap();
    assert_eq!((kernel.op(), kernel.name()), ("matmul", "mine.wgsl".into()));
    for case in cases::of("matmul").into_iter().take(40) {
        let own = outputs(&device, &case, kernel.lower(&*case.op).unwrap());
        let plain = outputs(&device, &case, case.op.lower(PLAIN).unwrap());
        let apart = own[2].iter().zip(&plain[2]).zip(&case.truth().bounds[2]).position(|((&own, &plain), &bound)| {
            (f64::from(f32::from_bits(own)) - f64::from(f32::from_bits(plain))).abs() > 2.0 * bound
        });
        assert_eq!(apart, None, "{}", case.shape());
    }
}

/// The starter that `kernels OP --template` writes is our own plain file.
#[test]
fn every_plain_kernel_fits_its_own_contract() {
    let device = Device::open(&adapter(), Checks::Checked).unwrap();
    let names: std::collections::BTreeSet<_> = cases::all().iter().map(|case| case.op.name()).collect();
    for name in names {
        for case in cases::of(name).into_iter().take(6) {
            let plain = case.op.lower(PLAIN).unwrap();
            let file = plain.dispatches[0].shader.text();
            let kernel = CustomKernel::parse(Path::new("plain.wgsl"), &file, &*case.op).unwrap();
            let own = outputs(&device, &case, kernel.lower(&*case.op).unwrap());
            assert!(own == outputs(&device, &case, plain), "{name} {}", case.shape());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_line() {
    let refused = |from: &str, to: &str| {
        assert!(NAIVE.contains(from));
        parse(&NAIVE.replace(from, to)).unwrap_err()
    };
    assert_eq!(
        refused("var<storage, read> a: array<f32>", "var<storage, read> left: array<f32>").lines().next().unwrap(),
        "no definition in scope for identifier: `a`"
    );
    let unsigned = NAIVE
        .replace("b: array<f32>", "b: array<u32>")
        .replace("* b[", "* f32(b[")
        .replace("b_stride_n];", "b_stride_n]);");
    assert_eq!(parse(&unsigned).unwrap_err(), "mine.wgsl:4: `b` is made of u32, expected array<f32>");
    let miscounted = NAIVE
        .replace("let tile = workgroup_index(workgroup, grid)", "let tile = invocation_index(workgroup, grid, 0u)");
    assert_eq!(
        parse(&miscounted).unwrap_err(),
        "mine.wgsl:14: invocation_index counts workgroups of 64, yours has 32: take workgroup_index(workgroup, grid) * 32u + local"
    );
    let renamed = NAIVE.replace("read> a:", "read> left:").replace("+= a[", "+= left[");
    assert_eq!(parse(&renamed).unwrap_err(), "mine.wgsl:5: no operand `left` in matmul (expected a, b, output)");
    assert_eq!(
        refused("struct Sizes { n: u32,", "struct Sizes { kk: u32, n: u32,"),
        "mine.wgsl:3: no `kk` among the params of matmul (expected m, k, n, a_stride_m, a_stride_k, b_stride_k, b_stride_n, slices, \
         slice_length)"
    );
    assert_eq!(
        refused("a_stride_m: u32 }", "a_stride_m: u32, slices: f32 }"),
        "mine.wgsl:3: `slices` is f32, expected u32"
    );
    assert_eq!(
        refused("var<storage, read> b", "var<storage, read_write> b"),
        "mine.wgsl:4: `b` is an input, expected var<storage, read>"
    );
    assert_eq!(
        refused("TILE_N: u32 = 8u", "TILE_K: u32 = 8u").lines().next().unwrap(),
        "no definition in scope for identifier: `TILE_N`"
    );
    assert_eq!(
        refused("const TILE_M", "const TILE_K: u32 = 2u;\nconst TILE_M"),
        "mine.wgsl:8: no axis for `TILE_K` (expected TILE_M, TILE_N)"
    );
    // Valid WGSL, but what the grid is made of could not be read out of it.
    let unknown = "mine.wgsl:9: no value of `TILE_N` (expected a type and a number, as in `const TILE_N: u32 = 4u;`)";
    assert_eq!(refused("const TILE_N: u32 = 8u;", "const TILE_N = 8;"), unknown);
    assert_eq!(refused("const TILE_N: u32 = 8u;", "override TILE_N = WIDTH * 2u; override WIDTH = 4u;"), unknown);
    assert_eq!(refused("output[m * sizes.n + n] = sum;", "_ = sum;"), "mine.wgsl:1: mine never writes `output`");
    assert_eq!(parse("fn mine() {}").unwrap_err(), "mine.wgsl:1: no compute entry point (expected one with @compute)");
    assert!(refused("var sum = 0.0;", "var sum = 0;").contains("mine.wgsl:"), "the message of the compiler");
    let kernel = parse(&NAIVE.replace("TILE_M: u32 = 4u", "TILE_M: u32 = 0u").replace("tiles_n * TILE_M", "tiles_n"));
    assert_eq!(
        kernel.unwrap().lower(&*matmul().op).unwrap_err().to_string(),
        "mine.wgsl: a TILE_ constant is 0, expected at least 1"
    );
    let relu = cases::of("relu_forward").remove(0);
    assert_eq!(
        parse(NAIVE).unwrap().lower(&*relu.op).unwrap_err().to_string(),
        "mine.wgsl is a kernel of matmul, not of relu_forward"
    );
}

#[test]
fn a_kernel_may_have_no_params() {
    let text = "@group(0) @binding(0) var<storage, read> input: array<f32>;
        @group(0) @binding(1) var<storage, read_write> output: array<f32>;
        @compute @workgroup_size(64)
        fn relu_forward(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
                        @builtin(local_invocation_index) local: u32) {
          let i = workgroup_index(workgroup, grid) * 64u + local;
          if (i < arrayLength(&output)) { output[i] = select(input[i], 0.0, input[i] <= 0.0); }
        }";
    let device = Device::open(&adapter(), Checks::Checked).unwrap();
    for case in cases::of("relu_forward").into_iter().take(10) {
        let kernel = CustomKernel::parse(Path::new("mine.wgsl"), text, &*case.op).unwrap();
        let own = outputs(&device, &case, kernel.lower(&*case.op).unwrap());
        assert!(own == outputs(&device, &case, case.op.lower(PLAIN).unwrap()), "{}", case.shape());
    }
}

#[test]
fn a_file_may_enable_subgroups() {
    let device = Device::open(&adapter(), Checks::Checked).unwrap();
    let wide = NAIVE.replace("k < sizes.k; k++", "k < subgroupMax(sizes.k); k++");
    assert_ne!(wide, NAIVE);
    let case = matmul();
    // With the directive that browsers want and without it, which naga lets pass.
    for text in [format!("enable subgroups;\n{wide}"), wide] {
        let lowering = parse(&text).unwrap().lower(&*case.op).unwrap();
        match device.has(Feature::Subgroups) {
            false => {
                let error = Rig::with_lowering(&device, &*case.op, &lowering, &case.step).err().unwrap();
                assert!(error.to_string().ends_with(" has subgroup operations, the adapter has none"), "{error}");
            }
            true => assert!(
                outputs(&device, &case, lowering)
                    == outputs(&device, &case, parse(NAIVE).unwrap().lower(&*case.op).unwrap())
            ),
        }
    }
}

#[test]
fn too_large_a_workgroup_is_refused_with_the_limit() {
    let device = Device::open(&adapter(), Checks::Checked).unwrap();
    let kernel = parse(&NAIVE.replace("@workgroup_size(8, 4)", "@workgroup_size(8, 4000)")).unwrap();
    let case = matmul();
    let error = Rig::with_lowering(&device, &*case.op, &kernel.lower(&*case.op).unwrap(), &case.step).err().unwrap();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error.to_string().contains(": too many invocations in a workgroup (got 32000, the adapter allows "),
        "{error}"
    );
    let hungry = NAIVE
        .replace("const TILE_M", "var<workgroup> stash: array<f32, 100000>;\nconst TILE_M")
        .replace("var sum = 0.0;", "var sum = stash[0];");
    let kernel = parse(&hungry).unwrap();
    let error = Rig::with_lowering(&device, &*case.op, &kernel.lower(&*case.op).unwrap(), &case.step).err().unwrap();
    assert!(
        error.to_string().contains(": too many bytes of workgroup memory (got 400000, the adapter allows "),
        "{error}"
    );
    // The device is none the worse for it.
    StepTable::new(&device, 1).unwrap();
    Program::new(&device, &[]).unwrap();
    assert_eq!(MatmulParams::FIELDS.len(), 9);
}
