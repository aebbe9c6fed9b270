//! What a compiler cannot see: the order of the modules, and that every file says what it is for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A module imports only from lines below its own. Those on the last line, the ground, may import each other.
const ORDER: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["demo"],
    &["app"],
    &["config"],
    &["admin"],
    &["gateway"],
    &["api"],
    &["session"],
    &["proxy"],
    &["access"],
    &["bot"],
    &["upstream"],
    &["limit"],
    &["vendor"],
    &["token"],
    &["store"],
    &["listen"],
    &["telemetry"],
    &["fault"],
    &["clock", "alarm", "id", "secret", "net", "text", "document", "aside"],
];

/// The ground's line.
const GROUND: usize = ORDER.len() - 1;

/// The simulated vendors must not know the gateway: tests compare the two.
const SIMULATED: &str = "demo/vendor";

/// A Rust file: its path below the repository, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The module at the top to which it belongs.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
    }

    /// The modules at the top that its code names, each with the line.
    fn named(&self) -> Vec<(usize, String)> {
        let mut named = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            for rest in code.split("crate::").skip(1) {
                let end =
                    rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
                named.push((number, rest[..end].to_owned()));
            }
        }
        named
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below `folder`.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "there are no files below {folder}");
    found
}

fn line_of(module: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&module))
}

fn violation(source: &Source, named: &str) -> Option<String> {
    let own = source.module();
    let Some(line) = line_of(own) else { return Some(format!("`{own}` has no place in the order")) };
    let Some(other) = line_of(named) else {
        return Some(format!("names `crate::{named}`, which has no place in the order"));
    };
    let is_simulated = source.path.starts_with(&format!("src/{SIMULATED}"));
    if is_simulated {
        // Their own folder is all of `demo` that they may name; what comes after `crate::demo` is `vendor`.
        let is_own =
            named == own && !source.text.contains("crate::demo::{") && !source.text.contains("use crate::demo::Demo");
        return (other != GROUND && !is_own)
            .then(|| format!("a simulated vendor imports the ground only, not `{named}`"));
    }
    let is_allowed = named == own || other > line || (line == GROUND && other == GROUND);
    (!is_allowed).then(|| format!("`{own}` imports `{named}`, which is above it"))
}

#[test]
fn a_module_imports_only_from_lines_below_its_own() {
    let mut violations = BTreeSet::new();
    for source in sources("src").iter().filter(|source| source.path != "src/lib.rs") {
        for (number, named) in source.named() {
            if let Some(violation) = violation(source, &named) {
                violations.insert(format!("{}:{number}: {violation}", source.path));
            }
        }
    }
    assert!(violations.is_empty(), "\n{}", violations.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_map_and_the_order() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let map: String = text.lines().filter(|line| line.starts_with("//! | [")).collect();
    let linked: Vec<usize> = ORDER
        .iter()
        .skip(1)
        .flat_map(|line| line.iter())
        .map(|module| {
            let link = format!("[`{module}`]");
            map.find(&link).unwrap_or_else(|| panic!("the map in src/lib.rs does not link {link}"))
        })
        .collect();
    assert!(linked.is_sorted(), "the map in src/lib.rs has another order than this test");
    for source in sources("src").iter().filter(|source| source.path != "src/lib.rs") {
        assert!(line_of(source.module()).is_some(), "{} has no place in the order", source.path);
    }
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent: Vec<String> = ["src", "tests", "fuzz/src", "fuzz/fuzz_targets"]
        .into_iter()
        .flat_map(sources)
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "these do not open with `//! `: {silent:?}");
}

#[test]
fn a_module_is_a_file_of_its_own_name() {
    let all = ["src", "tests"].into_iter().flat_map(sources);
    let nameless: Vec<String> = all.map(|source| source.path).filter(|path| path.ends_with("/mod.rs")).collect();
    assert!(nameless.is_empty(), "name these after their folder, beside it: {nameless:?}");
}

#[test]
fn nothing_is_left_to_do() {
    // Put together here, so that this file does not hold them.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
        ["to", "do!("].concat(),
        ["unimple", "mented!("].concat(),
    ];
    for source in ["src", "tests"].into_iter().flat_map(sources) {
        for (number, line) in (1..).zip(source.text.lines()) {
            assert!(!words.iter().any(|word| line.contains(word.as_str())), "{}:{number}: {line}", source.path);
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let model = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let tests: BTreeSet<String> = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .flat_map(|source| {
            let names = source.text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            names.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    // Names of tests are sentences; nothing else there in this type has so many words.
    let named: Vec<&str> = model.split('`').skip(1).step_by(2).filter(|name| name.matches('_').count() > 3).collect();
    assert!(named.len() > 60, "{} tests are named", named.len());
    let missing: Vec<&&str> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/security.md names tests that do not exist: {missing:#?}");
}
