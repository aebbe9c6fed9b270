//! A real Redis: its own process, port and folder, gone with the test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::PATIENCE;
use super::ports::free_address;

/// A sentinel writes to it, and starts with no other.
const CONFIGURATION: &str = "redis.conf";

/// A `redis-server` that a test started.
pub(crate) struct TestRedis {
    folder: TempDir,
    port: u16,
    options: Vec<String>,
    process: Option<Child>,
}

impl TestRedis {
    /// One that keeps nothing on the disk.
    pub(crate) fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// One that loses nothing it answered.
    pub(crate) fn durable() -> Self {
        Self::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One that also speaks TLS, with this certificate and key; and the port where.
    pub(crate) fn secure(certificate: &Path, key: &Path) -> (Self, u16) {
        let port = free_address().port();
        let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"];
        let files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate];
        (Self::with(&[&tls[..], &files, &["--save", ""]].concat()), port)
    }

    /// A sentinel that watches `main`.
    pub(crate) fn sentinel_of(main: &Self) -> Self {
        let watch =
            format!("sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 300\n", main.port);
        Self::configured(&watch, &["--sentinel"])
    }

    /// One with these options.
    pub(crate) fn with(options: &[&str]) -> Self {
        Self::configured("", options)
    }

    fn configured(configuration: &str, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Between the choice of a port and its use another process may take it.
        for _ in 0..20 {
            let port = free_address().port();
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(CONFIGURATION), configuration).unwrap();
            let mut redis = Self { folder, port, options: options.clone(), process: None };
            if redis.run() {
                return redis;
            }
        }
        panic!("redis-server does not start; tests/run installs it");
    }

    /// Its port, the same after each start.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again: the same port, the same folder.
    pub(crate) fn start_again(&mut self) {
        self.stop();
        assert!(self.run(), "redis-server did not start again at port {}", self.port);
    }

    /// Sends it a signal, such as `STOP` and `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap().success());
    }

    /// What it answers to one command, as it comes over the wire. A server that becomes a master closes all connections,
    /// this one too: then it is asked again.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        (0..10).find_map(|_| ask(self.port, words)).expect("it answers")
    }

    fn run(&mut self) -> bool {
        let process = Command::new("redis-server")
            .arg(self.folder.path().join(CONFIGURATION))
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(self.folder.path())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log(self.folder.path()))
            .spawn()
            .expect("redis-server is there; tests/run installs it");
        let process = self.process.insert(process);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && process.try_wait().unwrap().is_none() {
            // A -LOADING says to wait.
            if ask(self.port, &["PING"]).is_some_and(|answer| answer.starts_with("+PONG") || answer.contains("NOAUTH"))
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stop();
        false
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn log(folder: &Path) -> Stdio {
    std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap().into()
}

fn ask(port: u16, words: &[&str]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = vec![0; 64 * 1024];
    let length = stream.read(&mut answer).ok()?;
    (length > 0).then(|| String::from_utf8_lossy(&answer[..length]).into_owned())
}
