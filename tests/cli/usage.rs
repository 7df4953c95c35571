//! Commands that cannot be meant: exit code 2 (4 where it is about a file), one line that names the flag, nothing left behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::Workplace;

#[test]
fn every_command_has_help_with_an_example() {
    let place = Workplace::new();
    let top = place.run("--help").success().stdout;
    assert!(top.contains("Example:\n  shadegrad train"), "{top}");
    let (_, commands) = top.split_once("\nCommands:\n").unwrap();
    let commands: Vec<_> = commands.lines().map_while(|line| line.split_whitespace().next()).collect();
    for command in ["train", "eval", "predict", "show", "export", "plan", "devices", "kernels", "download"] {
        assert!(commands.contains(&command), "{command} is not in\n{top}");
    }
    for command in commands.into_iter().filter(|&command| command != "help") {
        let help = place.run(&format!("{command} --help")).success().stdout;
        let (_, example) = help.split_once("Example").unwrap_or_else(|| panic!("no example in\n{help}"));
        assert!(example.contains(&format!("\n  shadegrad {command}")), "{help}");
        let (_, options) = help.split_once("\nOptions:\n").unwrap();
        // Beside the flag, or below it where that is too long.
        let lines: Vec<_> = options.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0].trim_start().starts_with('-')) {
            let beside = pair[0].trim_start().split_once("  ").map_or(pair[1], |(_, text)| text).trim_start();
            assert!(beside.starts_with(char::is_alphabetic), "{command}: nothing says what {} does", pair[0]);
        }
    }
    assert_eq!(place.run("--version").success().stdout, format!("shadegrad {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn values_out_of_range_are_named() {
    let place = Workplace::new();
    for (arguments, message) in [
        ("train --epochs 0", "--epochs must be at least 1 (got 0)"),
        ("train --batch 0", "--batch must be at least 1 (got 0)"),
        ("train --limit 0", "--limit must be at least 1 (got 0)"),
        ("train --log-every 0", "--log-every must be at least 1 (got 0)"),
        ("train --lr nan", "--lr must be finite and above 0 (got NaN)"),
        ("train --lr -1", "--lr must be finite and above 0 (got -1)"),
        ("train --lr inf", "--lr must be finite and above 0 (got inf)"),
        ("train --momentum 1.5", "--momentum must be at least 0 and below 1 (got 1.5)"),
        ("train --weight-decay -0.1", "--weight-decay must be finite and at least 0 (got -0.1)"),
        // Finite, but not as the kernels see it.
        (
            "train --weight-decay 4e38",
            "--weight-decay must be finite and at least 0 (got 400000000000000000000000000000000000000)",
        ),
        ("train --nesterov --momentum 0", "--nesterov needs --momentum above 0 (got 0)"),
        ("train --augment crop=x", "--augment: crop takes a whole number of pixels (got x)"),
        ("train --augment flip,contrast=2", "--augment: contrast must be from 0 to 1 (got 2)"),
        (
            "check --model lenet --augment spin",
            "--augment has no \"spin\" (expected flip, crop=PIXELS, cutout=PIXELS, brightness=SHARE, contrast=SHARE or none)",
        ),
        ("train --schedule step:x", "the step schedule takes a whole number of epochs (got x)"),
        ("train --warmup 3", "--warmup must be 0 to --epochs (got 3, expected at most 2)"),
        (
            "train --schedule one-cycle --warmup 1",
            "--warmup is for the other schedules: one-cycle begins with its own\n\
             hint: --schedule one-cycle:SHARE says for which share of the steps the rate rises",
        ),
        ("train --precision f8", "--precision is f32 or f16 (got f8)"),
        ("bench matmul --precision double", "--precision is f32 or f16 (got double)"),
        (
            "train --data shapes --limit 4 --device cpu --precision f16",
            "--precision needs an adapter (got the CPU reference, which is f64 throughout)",
        ),
        ("train --model nonsense", "no model nonsense (expected lenet, wide or a .toml file)"),
        ("plan --batch 0", "--batch must be at least 1 (got 0)"),
        (
            "bench matmul --shape m=8,k=16,n=8 --variant nonsense",
            "matmul at 8×16 · 16×8 has no variant nonsense (expected plain, tiled)",
        ),
    ] {
        place.run(arguments).refuses(2, &format!("error: {message}"));
    }
    for (arguments, part) in [
        ("train --nonsense", "unexpected argument '--nonsense'"),
        ("train --batch x", "invalid value 'x' for '--batch <BATCH>'"),
        ("train --seed -1", "'-1'"),
        ("train --out a --resume b", "cannot be used with"),
        ("plan --image 3x32", "expected three sizes, such as 3x32x32"),
        ("nonsense", "unrecognized subcommand 'nonsense'"),
        ("eval", "<RUN|FILE.safetensors>"),
    ] {
        let refusal = place.run(arguments).refusal(2);
        assert!(refusal.starts_with("error: ") && refusal.contains(part), "shadegrad {arguments}\n{refusal}");
    }
    assert!(fs::read_dir(place.0.path()).unwrap().next().is_none(), "a refused command left something behind");
}

#[test]
fn runs_are_not_overwritten_and_not_changed() {
    let place = Workplace::new();
    place.write("notes.txt", "notes");
    fs::create_dir(place.path("empty")).unwrap();
    // Said before any data set is looked for.
    place
        .run("train --out empty")
        .refuses(2, "error: empty exists\nhint: continue it with --resume empty, or give another --out");
    for (arguments, file) in [
        ("train --resume nowhere", Path::new("nowhere").join("config.toml")),
        ("train --resume empty", Path::new("empty").join("config.toml")),
        ("eval nowhere", "nowhere".into()),
    ] {
        let refusal = place.run(arguments).refusal(4);
        assert!(refusal.starts_with(&format!("error: could not read {}: ", file.display())), "{refusal}");
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
    }
    place.run("eval empty").refuses(4, "error: empty is not a run folder: it has no config.toml");

    place.run("train --data shapes --limit 8 --epochs 1 --device cpu --out run").success();
    for flag in [
        "--batch 8",
        "--model wide",
        "--momentum 0",
        "--schedule cosine",
        "--warmup 1",
        "--seed 1",
        "--augment flip",
        "--limit 4",
        "--log-every 1",
    ] {
        let name = flag.split(' ').next().unwrap();
        place
            .run(&format!("train --resume run {flag}"))
            .refuses(2, &format!("error: {name} cannot change when a run is resumed"));
    }
    place.run("train --resume run --epochs 3 --device cpu").success();
    place
        .run("train --resume run --epochs 2 --device cpu")
        .refuses(2, "error: --epochs must be at least 3, as many as the run has begun (got 2)");
    place.run("train --data shapes --limit 4 --epochs 1 --device cpu --out notes.txt").refusal(2);
}

#[test]
fn networks_that_cannot_be_are_explained() {
    let place = Workplace::new();
    let conv = |size| format!("  {{ type = \"conv2d\", out_channels = 6, kernel_size = {size} }},\n");
    let linear = |size| format!("  {{ type = \"linear\", out_features = {size} }},\n");
    let flatten = "  { type = \"flatten\" },\n";
    place.write("unknown.toml", &format!("layers = [\n{}  {{ type = \"nonsense\" }},\n]\n", conv(5)));
    place.write("syntax.toml", &format!("layers = [\n{}  {{ type = conv2d }},\n]\n", conv(5)));
    place.write("large.toml", &format!("layers = [\n{}{flatten}{}]\n", conv(50), linear(10)));
    place.write("seven.toml", &format!("layers = [\n{flatten}{}]\n", linear(7)));
    place.write("images.toml", &format!("layers = [\n{}]\n", conv(5)));

    let kinds = "conv2d, max_pool2d, avg_pool2d, global_avg_pool2d, relu, dropout, flatten, linear";
    // As a compiler shows it: the message, then the line with what is wrong in it underlined.
    let excerpt = |message: &str, at: &str, line: &str, mark: &str| {
        let gutter = at.split(':').nth(1).unwrap();
        format!("error: {message}\n --> {at}\n  |\n{gutter} | {line}\n  | {mark}")
    };
    for command in ["plan", "train"] {
        let run = |model: &str| place.run(&format!("{command} --model {model}"));
        let message = format!("no layer nonsense (expected {kinds})");
        let shown = excerpt(&message, "unknown.toml:3:12", "  { type = \"nonsense\" },", "           ^^^^^^^^^^");
        run("unknown.toml").refuses(2, &shown);
        let refusal = run("syntax.toml").refusal(2);
        assert!(refusal.contains("\n --> syntax.toml:3:12\n") && refusal.contains("{ type = conv2d }"), "{refusal}");
        let refusal = run("absent.toml").refusal(4);
        assert!(refusal.starts_with("error: could not read absent.toml: "), "{refusal}");
    }
    let underlined = |text: &str, label: &str| format!("  {} {label}", "^".repeat(text.trim().len() - 1));
    let line = conv(50);
    let problem = "conv1: the padded input is smaller than the kernel along height (got 32, expected at least 50)";
    let mark = underlined(&line, "its input is (3, 32, 32)");
    let shown = excerpt(problem, "large.toml:2:3", line.trim_end(), &mark);
    place.run("plan --model large.toml").refuses(2, &shown);
    let train = |model: &str| place.run(&format!("train --data shapes --limit 4 --model {model}"));
    train("large.toml").refuses(2, &shown);
    let problem = "the network does not end in one logit a class";
    let line = linear(7);
    let shown = excerpt(
        &format!("fc1: {problem} (got (7), expected (10))"),
        "seven.toml:3:3",
        line.trim_end(),
        &underlined(&line, "its input is (3072)"),
    );
    train("seven.toml").refuses(2, &shown);
    let refusal = train("images.toml").refusal(2);
    assert!(refusal.starts_with(&format!("error: conv1: {problem} (got (6, 28, 28), expected (10))\n")), "{refusal}");
    assert!(!place.path("runs").exists(), "a refused run left a folder behind");
}

#[test]
fn experiments_are_for_those_who_ask() {
    let place = Workplace::new();
    let message = "error: the variant shared_cooperative_8x8_f16 needs what wgpu calls experimental\n\
                   hint: --experimental asks for it, where the adapter has it";
    for command in ["check matmul", "check matmul --json -", "bench matmul --shape m=512,k=512,n=512"] {
        let asked = place.run(&format!("{command} --variant shared_cooperative_8x8_f16"));
        asked.refuses(2, message);
        assert!(!asked.stdout.contains("0 passed") && !asked.stdout.contains("ceilings: "), "{}", asked.stdout);
    }
    let not_asked = place.run("check matmul").success().stderr;
    assert!(!not_asked.contains("cooperative"), "{not_asked}");
}

/// What is asked of a bench that measures nothing, or not what was meant, is refused before anything is measured.
#[test]
fn a_bench_that_cannot_be_meant_measures_nothing() {
    let place = Workplace::new();
    let check = place.run("check relu_forward --json -").success().stdout;
    place.write("check.json", &check);
    place.write("adapter.json", "{\"adapter\":{\"name\":\"A\"},\"cases\":[]}");
    let sizes = "bench matmul --shape m=8,k=8,n=8";
    let strange = "no op at the sizes asked for has a variant nonsense";
    let nothing = "the baseline has none of the kernels that are to be timed";
    for (arguments, code, message) in [
        (format!("{sizes} --variant tiled --variant nonsense"), 2, strange),
        ("bench matmul linear_forward --variant plain --variant nonsense".into(), 2, strange),
        (
            format!("{sizes} --variant shared_32"),
            2,
            "matmul at 8×8 · 8×8 has no variant shared_32 (expected plain, tiled)",
        ),
        (
            "bench matmul relu_forward --variant tiled".into(),
            2,
            "relu_forward has no variant tiled (expected plain, vec4)",
        ),
        ("bench --variant nonsense".into(), 2, strange),
        (format!("{sizes} --baseline check.json"), 3, nothing),
        (format!("{sizes} --baseline adapter.json"), 3, nothing),
        ("bench step --model nonsense".into(), 2, "no model nonsense (expected lenet, wide or a .toml file)"),
    ] {
        let outcome = place.run(&arguments);
        outcome.refuses(code, &format!("error: {message}"));
        assert!(!outcome.stdout.contains("timing: "), "{}", outcome.stdout);
    }
}

/// Where it is up to the bench, it takes the sizes that have the variant; of matmul's own not all are large enough for a tile of 64.
#[test]
fn a_variant_is_timed_at_the_sizes_that_have_it() {
    let place = Workplace::new();
    let result = place.run("bench matmul --variant shared_64 --json -").success().stdout;
    let result: Value = serde_json::from_str(&result).unwrap();
    let cases = result["cases"].as_array().unwrap();
    assert!(!cases.is_empty() && cases.iter().all(|case| case["variant"] == "shared_64"), "{result}");
}

/// A result that nobody has is no success.
#[test]
#[cfg(target_os = "linux")]
fn json_that_cannot_be_written_is_an_error() {
    let place = Workplace::new();
    for arguments in ["plan --json", "check relu_forward --json -", "devices --json"] {
        let mut command = place.command(arguments);
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        let message = "error: could not write standard output: no space left on device\n";
        assert_eq!(String::from_utf8(output.stderr).unwrap(), message, "{arguments}");
        assert_eq!(output.status.code(), Some(4), "{arguments}");
    }
}

/// The process that watches says what it waits for beside the JSON, not in it.
#[test]
fn what_is_watched_is_not_said_in_the_json() {
    let place = Workplace::new();
    place.run("kernels relu_forward --template mine.wgsl").success();
    let mut command = place.command("check relu_forward --shader mine.wgsl --watch --json -");
    let mut child =
        command.stdout(fs::File::create(place.path("out")).unwrap()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.take_while(|line| !line.starts_with("watching mine.wgsl ")).collect::<Vec<_>>();
    child.kill().unwrap();
    child.wait().unwrap();
    let result: Value = serde_json::from_str(&fs::read_to_string(place.path("out")).unwrap()).unwrap();
    assert!(result["passed"].as_u64() > Some(0) && result["failed"] == 0, "{said:?} {result}");
}
