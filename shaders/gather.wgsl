// A training batch from the images that live on the GPU as bytes.
//   gather:            input[n, p] = (pixel / 255 − mean) / deviation for image order[now.order_offset + n], labels[n] = its label
//   gather_augmented:  the same of that image as it is drawn for this epoch: contrast and brightness changed, then a window taken out
//                      of it and its black border, then mirrored, then a square of the result set to 0, which is the mean
// Rows from now.count on are zeros with label 0xffffffff, so that a short last batch trains like any other.
//
// A record is two words, then the pixels (channels, height, width) four to a word, least significant byte first. The first word holds the
// label in its low half and above it, in 8 bits, the mean of the grey image; the second the image's index. The records are spread over up
// to four buffers, because one binding may be smaller than the data set. One invocation unpacks WORDS words, or makes the four pixels that
// would be in one.
// Source: torchvision ToTensor, Normalize; ColorJitter, RandomCrop(padding=…), RandomHorizontalFlip; DeVries and Taylor, Cutout, 2017.

struct GatherParams {
  batch: u32,
  // Pixels of an image.
  image_length: u32,
  // Words of a record, the first two included.
  record_words: u32,
  records_per_buffer: u32,
  // 0: the image of row n is order[now.order_offset + n]. 1: it is now.order_offset + n, for a window of streamed records.
  streamed: u32,
  scale: f32,
  shift: f32,
  // From here on for gather_augmented alone.
  height: u32,
  width: u32,
  flip: u32,
  // Pixels of the black border.
  crop: u32,
  // Side of the square.
  cutout: u32,
  // Factors are within 1 ± these.
  brightness: f32,
  contrast: f32,
  seed_low: u32,
  seed_high: u32,
}

// `input` and how pixels are stored are in gather_pixels.wgsl or gather_fours.wgsl.
@group(0) @binding(0) var<uniform> params: GatherParams;
@group(0) @binding(1) var<storage, read> records_0: array<u32>;
@group(0) @binding(2) var<storage, read> records_1: array<u32>;
@group(0) @binding(3) var<storage, read> records_2: array<u32>;
@group(0) @binding(4) var<storage, read> records_3: array<u32>;
@group(0) @binding(5) var<storage, read> order: array<u32>;
@group(0) @binding(7) var<storage, read_write> labels: array<u32>;

const HEADER_WORDS: u32 = 2u;
const NO_LABEL: u32 = 0xffffffffu;

// What the random words are for, as in reference/philox.rs.
const AUGMENT: u32 = 1u;

// Words that an invocation of gather unpacks: what one has to find out about itself costs more than a word.
const WORDS: u32 = 4u;

// How many of the buffers hold records.
override BUFFERS: u32 = 4u;

fn load_word(record: u32, word: u32) -> u32 {
  if (BUFFERS == 1u) {
    return records_0[record * params.record_words + word];
  }
  let at = record % params.records_per_buffer * params.record_words + word;
  switch record / params.records_per_buffer {
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

// The record of row n.
fn record_of(n: u32) -> u32 {
  var record = now.order_offset + n;
  if (params.streamed == 0u) {
    record = order[record];
  }
  return record;
}

fn label_of(header: u32) -> u32 {
  return header & 0xffffu;
}

fn label_of_row(n: u32) -> u32 {
  if (n >= now.count) {
    return NO_LABEL;
  }
  return label_of(load_word(record_of(n), 0u));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn gather(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let words = params.record_words - HEADER_WORDS;
  let start = workgroup_index(workgroup, grid) * WORDS * WORKGROUP_SIZE + local;
  // A length that the compiler does not know: unrolled, it would only compile longer.
  let end = min(start + WORDS * WORKGROUP_SIZE, params.batch * words);
  for (var i = start; i < end; i += WORKGROUP_SIZE) {
    let n = i / words;
    let word = i % words;
    var values = vec4(0.0);
    if (n < now.count) {
      let record = record_of(n);
      let packed = load_word(record, HEADER_WORDS + word);
      let bytes = vec4(packed & 0xffu, (packed >> 8u) & 0xffu, (packed >> 16u) & 0xffu, packed >> 24u);
      values = vec4<f32>(bytes) * params.scale + params.shift;
    }
    if (word == 0u) {
      labels[n] = label_of_row(n);
    }
    store(n, word * 4u, values);
  }
}

// What an image is turned into in this epoch.
struct Draw {
  flip: bool,
  // Where in the padded image the window begins.
  offset_y: u32,
  offset_x: u32,
  // The pixel of the result that the square is centred on.
  centre_y: u32,
  centre_x: u32,
  contrast: f32,
  brightness: f32,
}

// A whole number in 0..bound.
fn below(word: u32, bound: u32) -> u32 {
  return multiply_high(word, bound);
}

// 1 ± share, from a multiple of 2⁻²³ in [−1, 1).
fn factor(share: f32, word: u32) -> f32 {
  return 1.0 + share * (f32(word >> 8u) * 0x1p-23f - 1.0);
}

// Keyed by seed, epoch and image, so that neither the batch nor the order nor what was drawn before matters.
fn draw(image: u32) -> Draw {
  let key = vec2(params.seed_low, params.seed_high);
  let first = philox(vec4(image, now.epoch, 0u, AUGMENT), key);
  let second = philox(vec4(image, now.epoch, 1u, AUGMENT), key);
  let window = 2u * params.crop + 1u;
  return Draw(
    params.flip != 0u && first.x >> 31u == 1u,
    below(first.y, window),
    below(first.z, window),
    below(second.x, params.height),
    below(second.y, params.width),
    factor(params.contrast, second.z),
    factor(params.brightness, second.w),
  );
}

// The level of a pixel; 0, as in the black border, where there is none.
fn load_level(record: u32, pixel: u32, exists: bool) -> f32 {
  if (!exists) {
    return 0.0;
  }
  let word = load_word(record, HEADER_WORDS + pixel / 4u);
  return f32((word >> (pixel % 4u * 8u)) & 0xffu);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn gather_augmented(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = invocation_index(workgroup, grid, local);
  let words = params.record_words - HEADER_WORDS;
  if (i >= params.batch * words) {
    return;
  }
  let n = i / words;
  let word = i % words;
  var label = NO_LABEL;
  var values = vec4(0.0);
  if (n < now.count) {
    let record = record_of(n);
    let header = load_word(record, 0u);
    let drawn = draw(load_word(record, 1u));

    // Four pixels in a row of the result, which may go on in the next row or channel.
    let at = vec4(word * 4u) + vec4(0u, 1u, 2u, 3u);
    let x = at % params.width;
    let y = at / params.width % params.height;
    let channel = at / (params.width * params.height);
    // Above or left of the image the subtraction wraps to a huge value, so one comparison covers both edges.
    let from_x = select(x, params.width - 1u - x, vec4(drawn.flip)) + drawn.offset_x - params.crop;
    let from_y = y + drawn.offset_y - params.crop;
    let pixel = (channel * params.height + from_y) * params.width + from_x;
    let exists = (from_x < vec4(params.width)) & (from_y < vec4(params.height)) & (at < vec4(params.image_length));
    var levels = vec4(
      load_level(record, pixel.x, exists.x),
      load_level(record, pixel.y, exists.y),
      load_level(record, pixel.z, exists.z),
      load_level(record, pixel.w, exists.w),
    );

    let grey = f32((header >> 16u) & 0xffu);
    levels = clamp(grey + drawn.contrast * (levels - grey), vec4(0.0), vec4(255.0));
    levels = clamp(drawn.brightness * levels, vec4(0.0), vec4(255.0));
    levels = select(vec4(0.0), levels, exists);
    values = levels * params.scale + params.shift;

    // Above or left of the square these wrap too.
    let square_x = x + params.cutout / 2u - drawn.centre_x;
    let square_y = y + params.cutout / 2u - drawn.centre_y;
    values = select(values, vec4(0.0), (square_x < vec4(params.cutout)) & (square_y < vec4(params.cutout)));
    label = label_of(header);
  }
  if (word == 0u) {
    labels[n] = label;
  }
  store(n, word * 4u, values);
}
