// What a dispatch costs that does nothing. The buffer is bound as written, so that one dispatch has to wait for the other, as in a step.

struct EmptyParams {
  value: u32,
}

@group(0) @binding(0) var<uniform> params: EmptyParams;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn empty(@builtin(local_invocation_index) local: u32) {
  if (local == 0u) {
    output[0] = params.value;
  }
}
