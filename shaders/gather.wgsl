// A training batch from the images that live on the GPU as bytes.
//   input[n, p] = (pixel / 255 − mean) / deviation for image order[now.order_offset + n], labels[n] = its label
// Rows from now.count on are zeros with label 0xffffffff, so that a short last batch trains like any other.
//
// A record is one word of label, then the pixels (channels, height, width) four to a word, least significant byte first. The records are
// spread over up to four buffers, because one binding may be smaller than the data set. One invocation unpacks one word.
// Source: torchvision ToTensor, Normalize.

struct GatherParams {
  batch: u32,
  // Pixels of an image.
  image_length: u32,
  // Words of a record, the label's included.
  record_words: u32,
  records_per_buffer: u32,
  // 0: the image of row n is order[now.order_offset + n]. 1: it is now.order_offset + n, for a window of streamed records.
  streamed: u32,
  scale: f32,
  shift: f32,
}

@group(0) @binding(0) var<uniform> params: GatherParams;
@group(0) @binding(1) var<storage, read> records_0: array<u32>;
@group(0) @binding(2) var<storage, read> records_1: array<u32>;
@group(0) @binding(3) var<storage, read> records_2: array<u32>;
@group(0) @binding(4) var<storage, read> records_3: array<u32>;
@group(0) @binding(5) var<storage, read> order: array<u32>;
@group(0) @binding(6) var<storage, read_write> input: array<f32>;
@group(0) @binding(7) var<storage, read_write> labels: array<u32>;

fn load_word(image: u32, word: u32) -> u32 {
  let at = image % params.records_per_buffer * params.record_words + word;
  switch image / params.records_per_buffer {
    case 0u: {
      return records_0[at];
    }
    case 1u: {
      return records_1[at];
    }
    case 2u: {
      return records_2[at];
    }
    default: {
      return records_3[at];
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn gather(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let words = params.record_words - 1u;
  if (i >= params.batch * words) {
    return;
  }
  let n = i / words;
  let word = i % words;
  var label = 0xffffffffu;
  var values = vec4(0.0);
  if (n < now.count) {
    var image = now.order_offset + n;
    if (params.streamed == 0u) {
      image = order[image];
    }
    let packed = load_word(image, word + 1u);
    let bytes = vec4(packed & 0xffu, (packed >> 8u) & 0xffu, (packed >> 16u) & 0xffu, packed >> 24u);
    values = vec4<f32>(bytes) * params.scale + params.shift;
    label = load_word(image, 0u);
  }
  if (word == 0u) {
    labels[n] = label;
  }
  let first = word * 4u;
  let base = n * params.image_length + first;
  input[base] = values.x;
  if (first + 1u < params.image_length) {
    input[base + 1u] = values.y;
  }
  if (first + 2u < params.image_length) {
    input[base + 2u] = values.z;
  }
  if (first + 3u < params.image_length) {
    input[base + 3u] = values.w;
  }
}
