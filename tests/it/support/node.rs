//! Clients that run in Node.js, from `tests/clients`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long npm may take, and how long the client.
const LIMIT: Duration = Duration::from_secs(180);

/// A client of `tests/clients` that is ready to run.
pub(crate) struct NodeClient {
    place: TempDir,
    name: String,
}

impl NodeClient {
    /// Installs `tests/clients/<name>` as its lock file says, in a directory of its own. Panics if that fails.
    pub(crate) fn install(name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
        let client = Self { place: tempfile::tempdir().unwrap(), name: name.to_owned() };
        copy_folder(&source, &client.folder());
        let mut install = Command::new("npm");
        install.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(client.folder());
        run(client.place.path(), install, name);
        client
    }

    /// Runs `node` with `arguments`, and `environment` added, and returns what it printed. Panics if it fails.
    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let mut node = Command::new("node");
        node.args(arguments).current_dir(self.folder()).envs(environment.iter().copied());
        run(self.place.path(), node, &self.name)
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("client")
    }
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
        .unwrap_or_else(|error| panic!("{program:?} cannot be run ({error}): this test needs Node.js 20 or later with npm, which tests/run installs"));
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
