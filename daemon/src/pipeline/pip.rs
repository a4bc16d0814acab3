//! The `pip install` that the SDK puts in front of every lightweight component, recognised so that its effect can
//! be kept as an image layer and paid for once.
//!
//! The form is the same from kfp 2.0 to 2.17 up to blanks: a check for pip, then installs joined by `&&`, then
//! `"$0" "$@"`. Anything else (a virtual environment, an edited script) runs as it is.

use sha2::{Digest, Sha256};

/// A recognised preamble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipSetup {
    /// The script without its tail: run by `sh -c`, it installs the packages and exits 0, or fails.
    pub script: String,
    /// Environment that changes what pip installs (`PIP_*`, proxies): the script needs it too.
    pub env: Vec<(String, String)>,
    /// What remains to run where the packages are there; the plan's arguments follow.
    pub command: Vec<String>,
    /// The requirements, options left out, for people.
    pub packages: Vec<String>,
    /// Names the effect: a digest of script and environment. With the image's digest it names the layer.
    pub fingerprint: String,
}

/// The lines in front of the installs.
const PRELUDE: [&str; 3] = [
    "if ! [ -x \"$(command -v pip)\" ]; then",
    "python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip",
    "fi",
];
const TAIL: &str = "\"$0\" \"$@\"";
const INSTALL: [&str; 4] = ["python3", "-m", "pip", "install"];
/// Options that take the next word.
const WITH_VALUE: [&str; 8] = [
    "--index-url",
    "-i",
    "--extra-index-url",
    "--trusted-host",
    "--find-links",
    "-f",
    "--constraint",
    "-c",
];

/// Takes a resolved command apart: `["sh", "-c", <preamble>, program..]`. `None`: run it as it is.
pub fn recognise(command: &[String], env: &[(String, String)]) -> Option<PipSetup> {
    let [shell, flag, script, rest @ ..] = command else {
        return None;
    };
    if shell != "sh" || flag != "-c" || rest.is_empty() || script.contains("{{$") {
        return None;
    }
    let lines: Vec<&str> = script
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let [installs] = lines.strip_prefix(&PRELUDE)? else {
        return None;
    };
    let installs = installs
        .strip_prefix("PIP_DISABLE_PIP_VERSION_CHECK=1 ")?
        .strip_suffix(TAIL)?
        .trim_end()
        .strip_suffix("&&")?;
    let packages = packages(installs)?;
    let env: Vec<(String, String)> = env
        .iter()
        .filter(|(name, _)| {
            name.starts_with("PIP_") || name.to_ascii_lowercase().ends_with("_proxy")
        })
        .cloned()
        .collect();
    let cut = script.rfind(TAIL)?;
    let script = script
        .get(..cut)?
        .trim_end()
        .strip_suffix("&&")?
        .trim_end()
        .to_owned();
    let mut digest = Sha256::new();
    digest.update(&script);
    for (name, value) in &env {
        digest.update(format!("\0{name}={value}"));
    }
    Some(PipSetup {
        fingerprint: hex::encode(digest.finalize()),
        script,
        env,
        command: rest.to_vec(),
        packages,
    })
}

/// The requirements of a chain of installs; `None` if it is anything but that.
fn packages(installs: &str) -> Option<Vec<String>> {
    let words = words(installs)?;
    let mut packages = Vec::new();
    for command in words.split(|word| *word == Word::And) {
        let words: Vec<&str> = command
            .iter()
            .map(|word| match word {
                Word::Text(text) => text.as_str(),
                Word::And => "",
            })
            .collect();
        let mut words = words.strip_prefix(&INSTALL)?.iter();
        let before = packages.len();
        while let Some(word) = words.next() {
            if WITH_VALUE.contains(word) {
                words.next()?;
            } else if !word.starts_with('-') {
                packages.push((*word).to_owned());
            }
        }
        if packages.len() == before {
            return None;
        }
    }
    Some(packages)
}

#[derive(Debug, PartialEq)]
enum Word {
    Text(String),
    And,
}

/// Splits what a shell would split; `None` as soon as there is anything that a shell would do more with.
fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '&' if chars.next() == Some('&') => words.push(Word::And),
            _ => {
                let mut word = String::new();
                let mut next = Some(c);
                while let Some(c) = next {
                    match c {
                        // Python's repr: double quotes where the text has a single one.
                        quote @ ('\'' | '"') => loop {
                            match chars.next()? {
                                end if end == quote => break,
                                '$' | '`' | '\\' | '!' if quote == '"' => return None,
                                inside => word.push(inside),
                            }
                        },
                        c if c.is_ascii_alphanumeric() || "-_./:=+,@%~".contains(c) => word.push(c),
                        _ => return None,
                    }
                    next = chars.next_if(|c| *c != ' ');
                }
                words.push(Word::Text(word));
            }
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEAD: &str = "\nif ! [ -x \"$(command -v pip)\" ]; then\n    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip\nfi\n\n";

    fn command(installs: &str) -> Vec<String> {
        [
            "sh",
            "-c",
            &format!("{HEAD}{installs}\n"),
            "sh",
            "-ec",
            "program_path=$(mktemp -d)",
            "def f(): pass",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[test]
    fn recognises_what_the_compilers_write() {
        for (installs, packages) in [
            // 2.0
            (
                "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet     --no-warn-script-location 'kfp==2.0.1' && \"$0\" \"$@\"",
                vec!["kfp==2.0.1"],
            ),
            // 2.9 and later
            (
                "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location 'kfp==2.14.3' '--no-deps' 'typing-extensions>=3.7.4,<5; python_version<\"3.9\"' && \"$0\" \"$@\"",
                vec![
                    "kfp==2.14.3",
                    "typing-extensions>=3.7.4,<5; python_version<\"3.9\"",
                ],
            ),
            // packages_to_install, an index
            (
                "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location --index-url https://pypi.org/simple --trusted-host https://pypi.org/simple 'pandas==2.2.0' 'x[y]'  &&  python3 -m pip install --quiet --no-warn-script-location 'kfp==2.17.0' '--no-deps' && \"$0\" \"$@\"",
                vec!["pandas==2.2.0", "x[y]", "kfp==2.17.0"],
            ),
            // a package with quotes of its own
            (
                "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet \"x; python_version<'3.9'\" 'kfp' && \"$0\" \"$@\"",
                vec!["x; python_version<'3.9'", "kfp"],
            ),
        ] {
            let env = [
                ("A".to_owned(), "1".to_owned()),
                ("PIP_INDEX_URL".to_owned(), "u".to_owned()),
            ];
            let setup = recognise(&command(installs), &env).unwrap();
            assert_eq!(setup.packages, packages);
            assert_eq!(
                setup.command,
                ["sh", "-ec", "program_path=$(mktemp -d)", "def f(): pass"]
            );
            assert_eq!(setup.env, [("PIP_INDEX_URL".to_owned(), "u".to_owned())]);
            assert!(setup.script.ends_with('\''), "{}", setup.script);
            assert!(!setup.script.contains("$0") && setup.script.contains("ensurepip"));
            assert_ne!(
                setup.fingerprint,
                recognise(&command(installs), &[]).unwrap().fingerprint
            );
        }
    }

    #[test]
    fn leaves_everything_else_alone() {
        let good = "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install 'kfp' && \"$0\" \"$@\"";
        assert!(recognise(&command(good), &[]).is_some());
        for installs in [
            "python3 -m pip install 'kfp' && \"$0\" \"$@\"",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install 'kfp'; \"$0\" \"$@\"",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install 'kfp' && rm -rf / && \"$0\" \"$@\"",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install $(evil) && \"$0\" \"$@\"",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install \"$(x)\" && \"$0\" \"$@\"",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install 'kfp' & \"$0\" \"$@\"",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install 'kfp && \"$0\" \"$@\"",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet && \"$0\" \"$@\"",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install 'kfp' && \"$0\" \"$@\"\necho more",
            "PIP_DISABLE_PIP_VERSION_CHECK=1 \nexport PIP_DISABLE_PIP_VERSION_CHECK=1\ntmp=$(mktemp -d)\npython3 -m venv \"$tmp/venv\" --system-site-packages\n. \"$tmp/venv/bin/activate\"\n python3 -m pip install 'kfp' && \"$0\" \"$@\"",
        ] {
            assert_eq!(recognise(&command(installs), &[]), None, "{installs}");
        }
        let mut bash = command(good);
        bash[0] = "bash".into();
        assert_eq!(recognise(&bash, &[]), None);
        assert_eq!(recognise(&command(good)[..3], &[]), None);
        assert_eq!(recognise(&[], &[]), None);
    }
}
