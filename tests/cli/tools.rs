//! `plan`, `devices` and `download`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::Workplace;

#[test]
fn the_plan_of_the_tutorial_network() {
    let place = Workplace::new();
    let text = place.run("plan").success().stdout;
    assert!(text.contains("\nparameters: 62,006 ("), "{text}");
    for (layer, parameters) in [("conv1", 456), ("conv2", 2416), ("fc1", 48_120), ("fc2", 10_164), ("fc3", 850)] {
        let line = text.lines().find(|line| line.starts_with(layer)).unwrap();
        assert!(line.replace(',', "").split_whitespace().any(|cell| cell == parameters.to_string()), "{line}");
    }
    assert!(text.starts_with("lenet: images of 3×32×32, 10 classes, batch 4\n"), "{text}");
    // Half of the forward pass is in the first layer, most parameters in the first linear one.
    let words = |layer: &str| text.lines().find(|line| line.starts_with(layer)).unwrap().split("  ").map(str::trim);
    let cells = |layer: &str| words(layer).filter(|word| !word.is_empty()).collect::<Vec<_>>();
    assert_eq!(cells("conv1")[1..], ["conv2d", "5×5", "6×28×28", "456", "0.7 %", "2.8 MFLOP", "53.6 %"]);
    // What the pooling keeps is all that is kept of the convolution.
    assert_eq!(cells("pool1")[1..], ["max_pool2d", "2×2", "6×14×14", "19 kFLOP", "0.4 %", "37 KiB"]);
    assert_eq!(cells("fc1")[1..5], ["linear", "120", "48,120", "77.6 %"]);
    assert!(text.contains("\na training step: 13 MFLOP: forward 5.3 MFLOP, backward 7.7 MFLOP, update "), "{text}");
    assert!(text.contains(" at batch 4: 731 KiB of parameters, gradients and momentum, "), "{text}");

    let json: Value = serde_json::from_str(&place.run("plan --json").success().stdout).unwrap();
    assert_eq!((&json["model"], &json["parameters"], &json["batch"]), (&"lenet".into(), &62_006.into(), &4.into()));
    // A convolution's gradient is summed up in a second one; without subgroups three more of these ops are two dispatches and more.
    assert_eq!((json["ops"].as_array().unwrap().len(), json["dispatches"].as_u64()), (11, Some(12)));
    assert_eq!(json["dispatches_without_subgroups"], 16);
    assert!(text.contains("; 11 ops, 12 dispatches (16 on a device without subgroups)\n"), "{text}");
    let dispatches = json["ops"].as_array().unwrap().iter().map(|op| op["dispatches"].as_u64().unwrap());
    assert_eq!(json["dispatches"], dispatches.sum::<u64>());
    let first = &json["layers"][0];
    assert_eq!((&first["input"], &first["output"]), (&serde_json::json!([3, 32, 32]), &serde_json::json!([6, 28, 28])));
    assert_eq!((&first["details"], &first["memory_bytes"]), (&"5×5".into(), &0.into()));
    let unfused: Value = serde_json::from_str(&place.run("plan --json --unfused").success().stdout).unwrap();
    assert_eq!(unfused["layers"][0]["memory_bytes"], 4 * 4 * 6 * 28 * 28);
    assert!(unfused["dispatches"].as_u64() > json["dispatches"].as_u64(), "{unfused}");

    let ops = place.run("plan --ops --model wide --batch 128").success().stdout;
    assert!(ops.lines().last().unwrap().starts_with("a step: "), "{ops}");
    place.run("plan --batch 4294967295").refusal(2);
    place.run("plan --image 3x65535x65535").refusal(2);
}

#[test]
fn devices_are_described_and_pass_their_test() {
    let place = Workplace::new();
    let devices = place.run("devices --json").success().stdout;
    let devices: Vec<Value> = serde_json::from_str(&devices).unwrap();
    assert!(!devices.is_empty(), "this test needs an adapter, software is enough: run scripts/test");
    let text = place.run("devices").success().stdout;
    for (index, device) in devices.iter().enumerate() {
        assert_eq!(device["index"], index);
        for key in ["name", "backend", "type", "driver"] {
            assert!(device[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {device}");
        }
        assert!(device["limits"]["max_binding_bytes"].as_u64().unwrap() >= 128 << 20, "{device}");
        assert!(device["features"].is_array(), "{device}");
        assert_eq!(device["self_test"], "pass");
        assert!(text.contains(&format!("{index}: {} · ", device["name"].as_str().unwrap())), "{text}");

        // An adapter is found by its number and by a part of its name, in any case.
        let part = device["name"].as_str().unwrap().split_whitespace().next().unwrap().to_uppercase();
        for choice in [index.to_string(), part] {
            let run = place.run(&format!("train --data shapes --limit 4 --epochs 1 --device {choice}")).success();
            assert!(run.stdout.starts_with("adapter: "), "{}", run.stdout);
        }
    }
}

#[test]
fn a_wrong_archive_is_refused() {
    let place = Workplace::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mirror.tar.gz", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwrong").unwrap();
    });
    let hint = format!("{url} is not the known archive any more, or something in between replaced it");
    let message = format!("error: mirror.tar.gz has 5 bytes, expected 170052171\nhint: {hint}");
    place.run(&format!("download --dir data --url {url}")).refuses(3, &message);
    assert!(!place.path("data").exists(), "a refused download left a folder behind");

    // The right length, all zeros, put there by hand: what only the checksum can tell.
    fs::create_dir(place.path("data")).unwrap();
    let archive = place.path("data/cifar-10-binary.tar.gz");
    fs::File::create(&archive).unwrap().set_len(170_052_171).unwrap();
    let refusal = place.run("download --dir data").refusal(3);
    assert!(refusal.starts_with("error: cifar-10-binary.tar.gz has SHA-256 "), "{refusal}");
    let expected = "expected c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd";
    assert!(refusal.lines().next().unwrap().ends_with(expected), "{refusal}");
    assert!(refusal.contains("\nhint: remove ") && archive.is_file(), "{refusal}");
}
