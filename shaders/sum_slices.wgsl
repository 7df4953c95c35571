// output[g, i] = Σ partials[s, i] over the slices s of group g: the second, fixed-order pass of a split reduction.
// sum_slices_pair does the same for two results that were split alike.
//
// One (group, element) an invocation, slices added in ascending order, so that the same input gives the same bits. With more slices
// than one invocation may loop over, the host repeats the pass until one group is left.

struct SumSlicesParams {
  // Elements of the result.
  length: u32,
  // Elements of the other result, for sum_slices_pair alone.
  other_length: u32,
  slices: u32,
  groups: u32,
  slices_per_group: u32,
}

@group(0) @binding(0) var<uniform> params: SumSlicesParams;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<storage, read> other_partials: array<f32>;
@group(0) @binding(4) var<storage, read_write> other_output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn sum_slices(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  if (i >= params.groups * params.length) {
    return;
  }
  let element = i % params.length;
  let first = (i / params.length) * params.slices_per_group;
  let last = min(first + params.slices_per_group, params.slices);
  var sum = 0.0;
  for (var slice = first; slice < last; slice++) {
    sum += partials[slice * params.length + element];
  }
  output[i] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn sum_slices_pair(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let both = params.length + params.other_length;
  if (i >= params.groups * both) {
    return;
  }
  let element = i % both;
  let group = i / both;
  let first = group * params.slices_per_group;
  let last = min(first + params.slices_per_group, params.slices);
  var sum = 0.0;
  if (element < params.length) {
    for (var slice = first; slice < last; slice++) {
      sum += partials[slice * params.length + element];
    }
    output[group * params.length + element] = sum;
  } else {
    let other = element - params.length;
    for (var slice = first; slice < last; slice++) {
      sum += other_partials[slice * params.other_length + other];
    }
    other_output[group * params.other_length + other] = sum;
  }
}
