//! A golden file, and the cases in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use shadegrad::geometry::{Pool2d, Window};

pub struct Golden(Vec<u8>);

impl Golden {
    pub fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.safetensors"));
        Self(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// The names before the `/`, which must be `expected`: a case that gets lost fails.
    pub fn cases(&self, expected: &[&str]) -> Vec<Case<'_>> {
        let tensors = self.tensors();
        let found: BTreeSet<&str> = tensors.names().into_iter().filter_map(|name| name.split('/').next()).collect();
        assert_eq!(found, expected.iter().copied().collect());
        expected.iter().map(|name| Case { tensors: self.tensors(), prefix: format!("{name}/") }).collect()
    }

    pub fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).expect("a golden file is a safetensors file")
    }
}

/// The tensors whose names start with `prefix`.
pub struct Case<'a> {
    pub tensors: SafeTensors<'a>,
    pub prefix: String,
}

impl Case<'_> {
    pub fn shape(&self, name: &str) -> Vec<u32> {
        self.tensor(name).shape().iter().map(|&size| size as u32).collect()
    }

    pub fn floats(&self, name: &str) -> Vec<f64> {
        let tensor = self.tensor(name);
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
            other => panic!("{}{name} holds {other:?}, not floats", self.prefix),
        }
    }

    pub fn integers(&self, name: &str) -> Vec<u32> {
        let tensor = self.tensor(name);
        assert_eq!(tensor.dtype(), Dtype::I32, "{}{name}", self.prefix);
        tensor.data().as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect()
    }

    pub fn window(&self) -> Window {
        let values = self.integers("window");
        let pair = |row: usize| [values[2 * row], values[2 * row + 1]];
        Window { kernel_size: pair(0), stride: pair(1), padding: pair(2), dilation: pair(3) }
    }

    pub fn pool2d(&self) -> Pool2d {
        let shape = self.shape("input");
        let pool = Pool2d::new(shape[0] * shape[1], [shape[2], shape[3]], self.window()).unwrap();
        assert_eq!(pool.output, self.shape("output")[2..], "{}output", self.prefix);
        pool
    }

    pub fn tensor(&self, name: &str) -> safetensors::tensor::TensorView<'_> {
        let name = format!("{}{name}", self.prefix);
        self.tensors.tensor(&name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Every value of the tensor `name` within its own bound; NaN agrees with NaN only.
    #[track_caller]
    pub fn assert_within(&self, name: &str, actual: &[f64], bound: &[f64]) {
        let expected = self.floats(name);
        assert_eq!(expected.len(), actual.len(), "{}{name}: length", self.prefix);
        assert_eq!(expected.len(), bound.len(), "{}{name}: bounds", self.prefix);
        let excess = |i: usize| {
            let (expected, actual): (f64, f64) = (expected[i], actual[i]);
            if expected == actual || expected.is_nan() && actual.is_nan() {
                return 0.0;
            }
            let share = (expected - actual).abs() / bound[i];
            if share.is_nan() { f64::INFINITY } else { share }
        };
        let worst = (0..actual.len()).max_by(|&a, &b| excess(a).total_cmp(&excess(b))).expect("no tensor is empty");
        assert!(
            excess(worst) <= 1.0,
            "{}{name}[{worst}]: expected {:e}, actual {:e}, which is {:.3} times the bound {:e}",
            self.prefix,
            expected[worst],
            actual[worst],
            excess(worst),
            bound[worst]
        );
    }

    /// The very same values.
    #[track_caller]
    pub fn assert_exact(&self, name: &str, actual: &[f64]) {
        self.assert_within(name, actual, &vec![0.0; actual.len()]);
    }
}
