//! How much of the machine's memory a training takes.

use crate::end::run;
use crate::{Workplace, write_cifar10};

/// Trains in a moment.
const TINY: &str = r#"
layers = [
    { type = "max_pool2d", kernel_size = 8 },
    { type = "flatten" },
    { type = "linear", out_features = "classes" },
]
"#;

/// CIFAR-10's 60,000 images.
const IMAGES_MIB: i64 = (60_000 * 3 * 32 * 32) >> 20;

#[test]
fn images_that_lie_in_files_are_not_kept_in_memory() {
    let place = Workplace::new();
    place.write("tiny.toml", TINY);
    write_cifar10(&place.path("photographs"));
    let peak = |data: &str, name: &str| {
        let arguments = format!("train --data {data} --model tiny.toml --epochs 1 --batch 16 --out {name}");
        let end = run(&mut place.command(&arguments));
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        end.peak_mib
    };
    let (few, all) = (peak("shapes --limit 500", "few"), peak("photographs", "all"));
    // What the images stream through takes some 20 MiB; the driver, which compiles for both, more for the one that comes first.
    assert!(all < few + IMAGES_MIB / 2, "{few} MiB with 500 images, {all} MiB with 60,000");
}
