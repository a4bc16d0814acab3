//! The IR against what real compilers write, and against noise.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use serde_json::Map;

use super::tests::sample;
use super::*;

/// Compiled pipelines of the real SDK, where they are present.
fn corpus() -> Option<Vec<PathBuf>> {
    let root = match std::env::var_os("KFBOX_CONFORMANCE") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"),
    };
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.extension().and_then(|e| e.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("yaml" | "yml" | "json") if path.to_string_lossy().contains("/kfp/") => {
                    files.push(path)
                }
                _ => {}
            }
        }
    }
    files.sort();
    if files.is_empty() {
        println!(
            "skipped: no conformance cases at {}; set KFBOX_CONFORMANCE",
            root.display()
        );
        return None;
    }
    Some(files)
}

#[test]
fn the_corpus_is_read() {
    let Some(files) = corpus() else { return };
    for path in files {
        let shown = path.display();
        let bytes = std::fs::read(&path).unwrap();
        let outcome = parse_file(&bytes).and_then(|file| check(&file.pipeline).map(|()| file));
        if path.to_string_lossy().contains("/invalid/") {
            let error = outcome.err().unwrap_or_else(|| panic!("{shown}: accepted"));
            println!("refused {shown}: {error}");
            continue;
        }
        let file = outcome.unwrap_or_else(|e| panic!("{shown}: {e}"));
        assert_eq!(
            PipelineFile::from_value(file.to_value()).unwrap(),
            file,
            "{shown}"
        );
        let missing = unsupported(&file.pipeline);
        assert_eq!(missing, unsupported(&file.pipeline));
        match missing.first() {
            None => println!("runs {shown}"),
            Some(first) => println!("not yet {shown}: {} of {}", first, missing.len()),
        }
    }
}

#[test]
fn noise_never_panics() {
    let mut seeds = vec![serde_json::to_vec(&sample()).unwrap()];
    for path in corpus().into_iter().flatten().step_by(9) {
        seeds.push(std::fs::read(path).unwrap());
    }
    // A small generator of its own: the same noise each time.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    for round in 0..400 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            match next(5) {
                0 => bytes[at] = next(256) as u8,
                1 => drop(bytes.drain(at..(at + next(40)).min(bytes.len()))),
                2 => bytes.insert(at, b"{}[]:,'\"&*!-\n 0"[next(15)]),
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let piece = bytes[at..(at + next(200)).min(bytes.len())].to_vec();
                    let to = next(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(b'a');
            }
        }
        if let Ok(file) = parse_file(&bytes) {
            let _ = check(&file.pipeline);
            let _ = unsupported(&file.pipeline);
            let _ = notes(&file.pipeline);
            let _ = runtime_parameters(&file.pipeline, &Map::new());
        }
    }
}
