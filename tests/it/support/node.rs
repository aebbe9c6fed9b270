//! Clients that run in Node.js, from `tests/clients`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// How long npm may take, and how long the client.
const LIMIT: Duration = Duration::from_secs(180);

/// Installs the client `tests/clients/<folder>` as its lock file says, in a directory of its own, runs its `script`
/// with `environment` added, and returns what that printed. Panics if either fails.
pub(crate) fn run_node(folder: &str, script: &str, environment: &[(&str, &str)]) -> String {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(folder);
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("client");
    copy_folder(&client, &copy);

    let mut install = Command::new("npm");
    install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&copy);
    run(place.path(), install, folder);
    let mut client = Command::new("node");
    client.arg(script).current_dir(&copy).envs(environment.iter().copied());
    run(place.path(), client, folder)
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    for entry in entries.map(Result::unwrap).filter(|entry| entry.file_name() != "node_modules") {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Runs a command to its end and returns its standard output.
fn run(place: &Path, mut command: Command, folder: &str) -> String {
    // Files, not pipes: nobody needs to read them while the command runs.
    let (output, errors) = (place.join("stdout"), place.join("stderr"));
    command.stdout(File::create(&output).unwrap()).stderr(File::create(&errors).unwrap());
    let status = wait(&mut command);
    let (output, errors) = (fs::read_to_string(output).unwrap(), fs::read_to_string(errors).unwrap());
    let ended = status.map_or_else(|| format!("killed after {} s", LIMIT.as_secs()), |status| status.to_string());
    let succeeded = status.is_some_and(|status| status.success());
    assert!(succeeded, "{command:?} for tests/clients/{folder}: {ended}\n{output}\n{errors}");
    output
}

/// Waits for the command's end; none if it had to be killed.
fn wait(command: &mut Command) -> Option<ExitStatus> {
    let program = command.get_program().to_owned();
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?} cannot be run ({error}): this test needs Node.js with npm"));
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() >= end {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
