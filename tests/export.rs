//! An exported model in PyTorch: the same logits. `tests/golden/export/` holds a network of every kind of layer as it is exported, and the
//! logits that PyTorch gave for it; where PyTorch is installed it is asked again.
//!
//! `SHADEGRAD_PYTHON` names a Python with torch and safetensors, by default `python3`. After a change to what is exported, write the folder
//! again with it:
//!
//!     SHADEGRAD_RECORD=1 cargo test --test export

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::SafeTensors;
use shadegrad::data::{Dataset, ImageShape, Split};
use shadegrad::gpu::{Checks, Device};
use shadegrad::machine::{Classifier, Inference};
use shadegrad::nn::{Network, initialise};
use shadegrad::ops::{Selection, Tuned};
use shadegrad::train::checkpoint::{NamedTensor, save_model};
use shadegrad::train::{AdapterRecord, Config, DataRecord, RunFolder, Settings, Trained, export};

/// The issue's bound on the difference of two logits. These are up to 2 in size, where f32 has steps of 1.2e-7.
const BOUND: f32 = 1e-5;

const SHAPE: ImageShape = ImageShape { channels: 3, height: 18, width: 19 };

/// Every kind of layer, with pairs that differ and rows left over.
const LAYERS: &str = r#"
    name = "every_layer"
    layers = [
        { type = "conv2d", out_channels = 6, kernel_size = [3, 5], stride = [1, 2], padding = [1, 2] },
        { type = "relu" },
        { type = "max_pool2d", kernel_size = 3, stride = [2, 1], padding = 1, dilation = [1, 2] },
        { type = "conv2d", out_channels = 8, kernel_size = 3, padding = [2, 0], dilation = [2, 1] },
        { type = "avg_pool2d", kernel_size = [3, 2], stride = 2, padding = [1, 0] },
        { type = "conv2d", out_channels = 5, kernel_size = 1 },
        { type = "global_avg_pool2d" },
        { type = "flatten" },
        { type = "linear", out_features = 7 },
        { type = "relu" },
        { type = "linear", out_features = "classes" },
    ]
"#;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/export")
}

fn classes() -> Vec<String> {
    ["a", "b \"quoted\"", "ç", "d"].map(String::from).to_vec()
}

/// A finished run of a network that was never trained: its initial weights, enlarged so that the logits are too.
fn write_run(path: &Path, network: &Network) {
    let classes = classes();
    let split = Split::new(vec![0], vec![0; SHAPE.len()]);
    let dataset = Dataset {
        name: "noise".into(),
        source: "drawn".into(),
        classes: classes.clone(),
        shape: SHAPE,
        train: split.clone(),
        test: split,
    };
    let config = Config {
        settings: Settings { model: network.name.clone(), ..Settings::default() },
        network: network.clone(),
        data: DataRecord::new(&dataset).unwrap(),
        adapter: AdapterRecord::reference(),
        kernels: Vec::new(),
        tuned: Tuned::default(),
    };
    let inference = Inference::new(None, &Selection::default(), network, SHAPE, classes.len() as u32, 1).unwrap();
    let parameters: Vec<f32> = initialise(inference.plan(), 0).iter().map(|value| 2.0 * value).collect();
    let tensors = inference.plan().parameters.iter().map(|parameter| NamedTensor {
        name: parameter.name.clone(),
        shape: parameter.shape.clone(),
        values: parameters[parameter.range()].to_vec(),
    });
    let tensors: Vec<NamedTensor> = tensors.collect();
    RunFolder::create(path, &config, &mut |folder| save_model(&folder.join("model.safetensors"), &tensors)).unwrap();
}

/// The Python that has PyTorch, where there is one.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("SHADEGRAD_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let found = Command::new(&python).args(["-c", "import torch, safetensors"]).output();
    found.is_ok_and(|output| output.status.success()).then_some(python)
}

/// Lets PyTorch write `logits.safetensors` into an exported folder.
fn ask_pytorch(python: &Path, folder: &Path) {
    let output = Command::new(python).arg("-B").arg(golden().join("logits.py")).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The pixels and logits of a folder.
fn recorded(folder: &Path) -> (Split, Vec<f32>) {
    let bytes = fs::read(folder.join("logits.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let pixels = file.tensor("pixels").unwrap();
    let logits = file.tensor("logits").unwrap();
    let split = Split::new(vec![0; pixels.shape()[0]], pixels.data().to_vec());
    (split, logits.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

#[track_caller]
fn assert_same(ours: &[f32], pytorch: &[f32], what: &str) {
    assert_eq!(ours.len(), pytorch.len(), "{what}");
    let worst = ours.iter().zip(pytorch).map(|(ours, pytorch)| (ours - pytorch).abs()).fold(0.0, f32::max);
    println!("{what}: worst difference {worst:e}");
    assert!(worst <= BOUND, "{what}: worst difference {worst:e}");
}

#[test]
fn pytorch_gives_the_same_logits() {
    let network = Network::parse(LAYERS, "every_layer").unwrap();
    let place = tempfile::tempdir().unwrap();
    let (run, folder) = (place.path().join("run"), place.path().join("torch"));
    write_run(&run, &network);
    let trained = Trained::find(&run, None).unwrap();
    export(&trained, &folder).unwrap();

    let python = python();
    if std::env::var_os("SHADEGRAD_RECORD").is_some() {
        let python = python.as_ref().expect("SHADEGRAD_PYTHON names a Python with torch and safetensors");
        ask_pytorch(python, &folder);
        for name in ["model.py", "model.safetensors", "logits.safetensors"] {
            fs::copy(folder.join(name), golden().join(name)).unwrap();
        }
    }
    // The recorded logits are those of what is exported today.
    for name in ["model.py", "model.safetensors"] {
        let same = fs::read(folder.join(name)).unwrap() == fs::read(golden().join(name)).unwrap();
        assert!(same, "tests/golden/export/{name} differs from what is exported; see the top of tests/export.rs");
    }
    let mut answers = vec![("recorded", recorded(&golden()))];
    match &python {
        Some(python) => {
            ask_pytorch(python, &folder);
            answers.push(("PyTorch", recorded(&folder)));
        }
        None => println!("no PyTorch here: its recorded logits stand for it"),
    }

    let device = Device::open(&common::adapter(), Checks::Checked).unwrap();
    for (machine, device) in [("GPU", Some(device)), ("CPU reference", None)] {
        let mut inference = Inference::new(device, &Selection::default(), &network, SHAPE, 4, 8).unwrap();
        inference.set_parameters(&trained.parameters(inference.plan()).unwrap());
        for (who, (images, logits)) in &answers {
            let ours = inference.logits(images, 0..images.len()).unwrap();
            assert_same(&ours, logits, &format!("{machine} against {who}"));
        }
    }
}
