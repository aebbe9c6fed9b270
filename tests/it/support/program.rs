//! The `keystile` program as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

/// The program, with nothing in its environment that a developer's shell may have set for it.
pub(crate) fn keystile() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keystile"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    keystile().args(arguments).output().unwrap()
}

/// Its standard output.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Its standard error.
pub(crate) fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The address that the log says is listened on.
pub(crate) async fn listening(log: &Path) -> String {
    told(log, "address").await
}

/// What the log says of this when it says what is listened on.
pub(crate) async fn told(log: &Path, name: &str) -> String {
    let mut address = None;
    let find = || {
        let text = std::fs::read_to_string(log).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"] == "listening").find_map(|line| Some(line[name].as_str()?.to_owned()))
    };
    super::eventually("listening", || {
        address = find();
        address.is_some()
    })
    .await;
    address.unwrap()
}

/// The program at work. Dropping it ends it.
pub(crate) struct Running {
    child: Child,
    said: BufReader<Box<dyn Read + Send>>,
}

impl Running {
    /// Starts it; standard error goes to the file `log`, standard output is read by lines.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let said: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        Self { child, said: BufReader::new(said) }
    }

    /// The next line that it says; waits for it.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the program ended: {:?}", self.child.wait());
        line
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("bash").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end, for which somebody has asked.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Asks it to stop, as a supervisor does, and waits for its end.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.terminate_and_read().0
    }

    /// The same, with what it has said and nobody has read.
    pub(crate) fn terminate_and_read(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
