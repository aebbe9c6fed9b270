//! Nobody reads what the program writes.

use std::io::{PipeReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command};
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::{Client, StatusCode};

use crate::support::home::Home;
use crate::support::vendor::{TestVendor, whole};
use crate::support::{PATIENCE, eventually};

/// More lines than wait to be written, and than a pipe takes.
const CALLS: usize = 6_000;
const AT_ONCE: usize = 8;

/// The program, all of whose output is one pipe.
struct Unread {
    child: Child,
    output: PipeReader,
    url: String,
}

impl Unread {
    /// After more calls than their warnings have room for.
    async fn flooded() -> Self {
        // A redirect is not followed, and each is a warning.
        let vendor = TestVendor::answering(|_| whole(302, "text/plain", ""));
        let home = Arc::new(Home::new(&vendor, ""));
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let (output, end) = std::io::pipe().unwrap();
        let mut command = home.prepare(Home::command_with(&[&socket]));
        let child = command.stdout(end.try_clone().unwrap()).stderr(end).spawn().unwrap();
        let program = Self { child, output, url };
        let token = home.mint_at(&program.url).await;
        let calls = (0..AT_ONCE).map(|_| {
            let (home, url, token) = (Arc::clone(&home), program.url.clone(), token.clone());
            let http = Client::builder().timeout(PATIENCE).build().unwrap();
            tokio::spawn(async move {
                for _ in 0..CALLS / AT_ONCE {
                    let answer = home.say(&http, &url, &token).send().await.unwrap();
                    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
                }
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        program
    }

    async fn stop(&mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        eventually("it ends", || self.child.try_wait().unwrap().is_some()).await;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_where_nobody_reads_the_log_and_what_was_lost_is_told_to_who_does() {
    let mut program = Unread::flooded().await;
    let (read, mut output) = (Arc::new(Mutex::new(Vec::new())), program.output.try_clone().unwrap());
    let kept = Arc::clone(&read);
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut bytes) {
            kept.lock().extend_from_slice(&bytes[..length]);
        }
    });
    let says = |text: &str| String::from_utf8_lossy(&read.lock()).contains(text);
    eventually("what was lost is told", || says("lines of the log were dropped since the start")).await;
    program.stop().await;
    reader.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_whose_log_nobody_reads_can_be_stopped() {
    Unread::flooded().await.stop().await;
}
