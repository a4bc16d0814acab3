//! The house rules that a program can check: see "Invariants" in the README.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
};

const MAX_LINES: usize = 800;
const ROOMS: &[&str] = &[
    ".ci",
    "daemon",
    "gpu",
    "images",
    "installer",
    "store",
    "tests",
    "web",
];
const NOT_OURS: &[&str] = &[
    "node_modules",
    "target",
    "dist",
    ".venv",
    "__pycache__",
    "test-results",
    "fixtures",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// All source files, as paths from the root, with their text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ROOMS.iter().map(|room| root().join(room)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    folders.push(path);
                }
                continue;
            }
            let extension = path
                .extension()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if ["rs", "ts", "tsx", "js", "mjs", "py", "sh"].contains(&extension.as_str()) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 50, "the sources are somewhere else");
    found
}

/// The files for which `wrong` gives a reason. This file names what it forbids: it is left out.
fn offenders(wrong: impl Fn(&str, &str) -> Option<String>) -> String {
    let sources = sources()
        .into_iter()
        .filter(|(path, _)| path != "tests/tests/tidy.rs");
    let mut all: Vec<_> = sources
        .filter_map(|(path, text)| Some(format!("{path}: {}", wrong(&path, &text)?)))
        .collect();
    all.sort();
    all.join("\n")
}

fn is(path: &str, extensions: &[&str]) -> bool {
    extensions.iter().any(|e| path.ends_with(&format!(".{e}")))
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = offenders(|path, text| {
        let mut lines = text
            .lines()
            .filter(|l| !l.starts_with("#!"))
            .map(str::trim)
            .filter(|l| !l.is_empty());
        let first = lines.next().unwrap_or_default();
        let says = if is(path, &["py"]) {
            first.starts_with("\"\"\"") || first.starts_with('#')
        } else if is(path, &["sh"]) {
            first.starts_with('#')
        } else {
            first.starts_with("//") || first.starts_with("/*")
        };
        (!says).then(|| format!("opens with {first:?}, not with what it is for"))
    });
    assert_eq!(silent, "");
}

#[test]
fn no_file_is_too_long() {
    let long = offenders(|_, text| {
        let lines = text.lines().count();
        (lines > MAX_LINES).then(|| format!("{lines} lines"))
    });
    assert_eq!(long, "");
}

#[test]
fn only_the_driver_names_the_engine() {
    let others = offenders(|path, text| {
        let wrong = is(path, &["rs"])
            && !path.starts_with("daemon/src/driver/")
            && text.contains("bollard::");
        wrong.then(|| "names bollard".into())
    });
    assert_eq!(others, "");
}

#[test]
fn only_one_file_names_the_database() {
    let others = offenders(|path, text| {
        let uses = text.contains("redb::") || text.contains("use redb");
        (is(path, &["rs"]) && !path.starts_with("store/src/db/") && uses)
            .then(|| "uses redb".into())
    });
    assert_eq!(others, "");
}

#[test]
fn nothing_is_unsafe() {
    let others = offenders(|path, text| {
        let code = |l: &&str| !l.trim_start().starts_with("//");
        let mut code = text.lines().filter(code);
        let blocks = [
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe extern",
            "allow(unsafe",
        ];
        let wrong = is(path, &["rs"]) && code.any(|l| blocks.iter().any(|b| l.contains(b)));
        wrong.then(|| "unsafe".into())
    });
    assert_eq!(others, "");
}
