//! The networks in `examples/`: each is read with its settings, and planned for the images it is for. tests/cli/recipes.rs trains them.

use std::path::Path;

use shadegrad::nn::{Fusion, Images, Noise, PlanRequest};
use shadegrad::train::Recipe;

#[test]
fn every_example_becomes_a_plan_for_its_images() {
    let sizes: [(&str, [u32; 3], &str); 3] =
        [("all-conv", [3, 32, 32], "108,154"), ("mnist", [1, 28, 28], "30,322"), ("vgg-small", [3, 32, 32], "550,570")];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), sizes.len(), "{files:?}");
    for (file, (name, image, parameters)) in files.iter().zip(sizes) {
        let recipe = Recipe::of_model(file.to_str().unwrap()).unwrap();
        recipe.check(&recipe.settings).unwrap();
        assert_eq!(recipe.network.name, name);
        let batch = recipe.settings.batch;
        let images = Images::streamed(image, 10, batch);
        let request =
            PlanRequest { network: &recipe.network, images, batch, max_bytes: 128 << 20, fusion: Fusion::Full };
        let noise = Noise { seed: 0, augmentation: recipe.settings.augment };
        let plan = request.training(&recipe.settings.optimiser(), &noise, 1).unwrap();
        assert_eq!(shadegrad::units::count(plan.parameter_count()), parameters, "{name}");
        let text = std::fs::read_to_string(file).unwrap();
        for said in [format!("{parameters} parameters"), format!("--model examples/{name}.toml")] {
            assert!(text.contains(&said), "{said} in {name}");
        }
    }
}
