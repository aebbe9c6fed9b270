//! What is in `deploy/` is what it says: HAProxy and `keystile check` take it, and its time-outs fit each other.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::balancer::{certificate, judged};
use crate::support::program::{complained, keystile, said};

/// From the end of `server.drain` to the end of the process, at most: a token's leeway, and the time for last words.
const LAST: u64 = 7;

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)).unwrap()
}

/// The number that stands between `before` and `after`.
fn number(text: &str, before: &str, after: &str) -> u64 {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("there is no {before}"));
    rest.split_once(after).unwrap().0.trim().parse().unwrap()
}

/// The configuration in the manifest's ConfigMap.
fn configuration(manifest: &str) -> String {
    let (_, rest) = manifest.split_once("keystile.toml: |\n").unwrap();
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn haproxy_takes_its_configuration_without_a_warning_in_all_its_forms() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = certificate(folder.path());
    let forms: [&[(&str, &Path)]; 3] =
        [&[], &[("KEYSTILE_CERTIFICATE", &file)], &[("KEYSTILE_CERTIFICATE", &file), ("KEYSTILE_REPLICA_CA", &file)]];
    for form in forms {
        let output = judged(form);
        let all = said(&output) + &complained(&output);
        assert!(output.status.success() && !all.contains("WARNING"), "{form:?}: {all}");
    }
}

#[test]
fn the_configuration_in_the_manifest_is_one_that_check_takes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keystile.toml");
    std::fs::write(&file, configuration(&text("kubernetes/keystile.yaml"))).unwrap();
    let mut command = keystile();
    command.args(["check", "-c"]).arg(&file);
    command.env("CHATBOTKIT_KEY", "sk-deploying-0123456789").env("REDIS_PASSWORD", "deploying-0123456789");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}{}", said(&output), complained(&output));
}

#[test]
fn whoever_stops_a_replica_waits_until_its_calls_have_ended() {
    let manifest = text("kubernetes/keystile.yaml");
    let own = configuration(&manifest);
    let longest = number(&own, "drain_notice    = \"", "s\"") + number(&own, "drain           = \"", "s\"") + LAST;
    assert!(number(&manifest, "terminationGracePeriodSeconds:", "\n") > longest);
    // With what holds where a configuration says nothing.
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/keystile.toml")).unwrap();
    let usual = number(&document, "# drain_notice = \"", "s\"") + number(&document, "# drain = \"", "s\"") + LAST;
    assert!(number(&text("systemd/keystile.service"), "TimeoutStopSec=", "s\n") > usual);
}

#[test]
fn the_balancer_hears_that_a_replica_goes_before_it_closes_its_door() {
    let haproxy = text("haproxy/haproxy.cfg");
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/keystile.toml")).unwrap();
    let notice = number(&document, "# drain_notice = \"", "s\"") * 1000;
    let (first, others) = (number(&haproxy, " inter ", "s ") * 1000, number(&haproxy, " fastinter ", "ms "));
    let heard = first + (number(&haproxy, " fall ", " ") - 1) * others;
    assert!(heard * 2 < notice, "{heard} ms of {notice}");
    // A connection without a call is closed by the balancer first.
    let kept = number(&haproxy, "timeout http-keep-alive ", "s\n");
    assert!(kept < number(&document, "# head = \"", "s\""));
}

#[test]
fn what_the_image_is_built_from_is_a_whole_package() {
    let (here, context) = (Path::new(env!("CARGO_MANIFEST_DIR")), tempfile::tempdir().unwrap());
    let ignored = text("docker/Dockerfile.dockerignore");
    let taken = ignored.lines().filter_map(|line| line.strip_prefix('!'));
    let copied =
        Command::new("cp").current_dir(here).args(["-r", "--parents"]).args(taken).arg(context.path()).status();
    assert!(copied.unwrap().success());
    // .cargo/config.toml has cargo call the compiler through it.
    let compiler = Command::new(context.path().join("bench/profile/rustc")).args(["rustc", "-V"]).output().unwrap();
    assert!(compiler.status.success(), "{}", complained(&compiler));
    let mut read = Command::new("cargo");
    read.args(["metadata", "--offline", "--locked", "--no-deps", "--format-version", "1"]);
    let read = read.current_dir(context.path()).output().unwrap();
    assert!(read.status.success(), "{}", complained(&read));
    // cargo builds nothing where the file of a target that the manifest names is missing, and here leaves such a one out.
    let package: Value = serde_json::from_slice(&read.stdout).unwrap();
    let found: Vec<_> = package["packages"][0]["targets"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    let manifest = std::fs::read_to_string(here.join("Cargo.toml")).unwrap();
    let named: Vec<_> = ["[[test]]", "[[bench]]"].iter().flat_map(|kind| manifest.split(kind).skip(1)).collect();
    assert_eq!(named.len(), 2);
    for target in named {
        let (_, rest) = target.split_once("name = \"").unwrap();
        let name = rest.split_once('"').unwrap().0;
        assert!(found.iter().any(|found| *found == name), "{name} is not among {found:?}");
    }
}

#[test]
fn what_is_optimised_gets_the_profile_of_its_own_compiler_and_dependencies() {
    let (here, place) =
        (Path::new(env!("CARGO_MANIFEST_DIR")), tempfile::Builder::new().prefix("a place").tempdir().unwrap());
    let profile = place.path().join("bench/profile");
    std::fs::create_dir_all(&profile).unwrap();
    // By other processes: what this one has open for writing while a test beside it begins a process cannot be run.
    let compiler = place.path().join("rustc");
    let made = r#"cp bench/profile/rustc bench/profile/of "$0/bench/profile" && chmod +x "$0/rustc""#;
    let script = "#!/bin/sh\n[ \"$1\" = -vV ] && echo \"host: $HOST_OF_TEST\" && exit\nprintf '%s\\n' \"$@\"\n";
    let make =
        |what: &str| Command::new("sh").current_dir(here).args(["-c", what]).arg(place.path()).arg(script).status();
    assert!(make(r#"printf %s "$1" >"$0/rustc""#).unwrap().success() && make(made).unwrap().success());
    std::fs::write(place.path().join("Cargo.lock"), "one").unwrap();
    std::fs::write(profile.join("keystile.profdata"), "notes").unwrap();
    let of = Command::new(profile.join("of")).arg(&compiler).env("HOST_OF_TEST", "here").output().unwrap();
    std::fs::write(profile.join("taken-of"), of.stdout).unwrap();
    let ask = |host: &str, before: &[&str], notes: &str, given: &[&str]| {
        let mut call = Command::new(profile.join("rustc"));
        call.args(before).arg(&compiler).args(given).envs([("KEYSTILE_NOTES", notes), ("HOST_OF_TEST", host)]);
        call.output().unwrap()
    };
    let added_at = |host: &str, notes: &str, given: &[&str]| {
        let answer = ask(host, &[], notes, given);
        assert!(answer.status.success() && answer.stderr.is_empty(), "{}", complained(&answer));
        let printed = String::from_utf8(answer.stdout).unwrap();
        let flags: Vec<&str> = printed.lines().collect();
        assert_eq!(flags[..given.len()], *given);
        flags[given.len()..].join(" ")
    };
    let added = |notes: &str, given: &[&str]| added_at("here", notes, given);

    let fast = ["--crate-name", "x", "-C", "opt-level=3"];
    let used = added("", &fast);
    let file = format!("-Cprofile-use={}", profile.join("keystile.profdata").display());
    assert!(used.starts_with(&file), "{used}");
    // Build scripts and macros, other targets, and what has notes of its own.
    assert_eq!(added("", &["--crate-name", "x", "-C", "opt-level=1"]), "");
    assert_eq!(added("", &[&fast[..], &["-Cinstrument-coverage"]].concat()), "");
    assert_eq!(added("/notes here", &fast), "-Cprofile-generate=/notes here");
    let without = "-Cllvm-args=-inline-threshold=500";
    assert_eq!(added("", &[&fast[..], &["--target", "other"]].concat()), without);
    // Another tool before the compiler does not hide it.
    let behind = ask("here", &["/usr/bin/env"], "", &fast);
    assert!(String::from_utf8_lossy(&behind.stdout).contains(&file), "{behind:?}");
    assert_eq!(added_at("elsewhere", "", &fast), without);
    assert_eq!(added("", &fast), used);
    std::fs::write(place.path().join("Cargo.lock"), "another").unwrap();
    assert_eq!(added("", &fast), without);
}
