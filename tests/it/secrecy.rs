//! Nothing that is secret is told: the program runs with all that it can log, in front of a vendor that gives away what it
//! was sent, and every failure is provoked. Then all that was said is searched.

mod commands;
mod home;
mod hostile;
mod once;
mod provoke;
mod search;
mod stage;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;

use keystile::fault::Code;
use keystile::secret::Secret;

use self::search::{Haystack, readable};
use self::stage::{CANARY, Stage};
use crate::support::gateway::KEY;
use crate::support::program::{Running, listening};

/// Codes that are not provoked here, and why.
const NOT_PROVOKED: &[(Code, &str)] = &[
    (Code::Internal, "it stands for bugs: whoever finds a way to it has found one to mend"),
    (Code::SessionEnding, "it needs a session of a day; its words are constant"),
    (
        Code::StoreUnavailable,
        "it needs a store that is away, as in `replicas`; its words are constant, the cause has no secret",
    ),
    (Code::AuditUnavailable, "it needs a file that cannot be written, as in `audit`; its words are constant"),
    (Code::VendorUnavailable, "it needs a vendor that failed five times, as in `breaker`; its words are constant"),
    (Code::MisdirectedRequest, "it needs TLS; its words are constant, and the host is only compared"),
    (Code::HostNotAllowed, "it is the admin listener's; its words are constant, and the host is only compared"),
];

#[tokio::test]
async fn no_secret_is_told_whatever_fails() {
    let mut stage = Stage::start().await;
    provoke::all(&mut stage).await;
    let Haystack { log, answers, secrets, tokens } = stage.finish().await;

    let text = answers.join("\n");
    for code in Code::ALL {
        let is_provoked = text.contains(&format!("\"code\":\"{}\"", code.name()));
        let reason = NOT_PROVOKED.iter().find(|(known, _)| known == code);
        assert!(is_provoked != reason.is_some(), "{code:?}: provoked: {is_provoked}, a reason against: {reason:?}");
    }
    for secret in &secrets {
        search::refuse(secret, "the log", &log);
        search::refuse(secret, "an answer", &text);
    }
    let mints = |answer: &str| answer.starts_with("HTTP/1.1 201") || answer.contains("\"tokenType\":\"Bearer\"");
    let others: Vec<&String> = answers.iter().filter(|answer| !mints(answer)).collect();
    for token in &tokens {
        let signature = token.rsplit('.').next().unwrap();
        for part in [token.as_str(), signature] {
            search::refuse(part, "the log", &log);
            others.iter().for_each(|answer| search::refuse(part, "an answer", answer));
        }
    }
    assert!(!log.to_ascii_lowercase().contains(CANARY), "{}", search::around(&log, CANARY));
    assert!(log.contains("spans were lost: the collector cannot be reached"), "{log}");
    assert!(log.lines().filter(|line| line.contains("refused: ")).count() > 30, "`trace` says why calls are refused");
    for line in log.lines() {
        assert!(readable(line), "{line:?}");
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object()), "{line:?}");
        assert!(line.len() < 2048, "{line}");
    }
}

#[test]
fn debug_output_of_the_whole_gateway_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, bound) = home::in_process(folder.path());
    assert!(settings.contains("acme") && bound.contains("acme"));
    let private = home::private_keys(folder.path());
    for secret in [KEY, home::PROXY].into_iter().map(str::to_owned).chain(private) {
        search::refuse(&secret, "the settings", &settings);
        search::refuse(&secret, "the gateway", &bound);
    }
    search::refuse(KEY, "a secret", &format!("{:?}", Some(Secret::new(KEY))));
}

#[tokio::test]
async fn other_processes_of_its_user_cannot_look_into_the_program() {
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    home::write(folder.path(), "http://127.0.0.1:9", "http://127.0.0.1:9");
    let log = folder.path().join("log");
    let program = folder.path().join("keystile");
    std::fs::copy(env!("CARGO_BIN_EXE_keystile"), &program).unwrap();
    let mut command = std::process::Command::new(&program);
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        // Files of root's processes belong to root anyway.
        for path in [folder.path().to_owned(), folder.path().join("keystile.toml"), folder.path().join("plain.toml")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    command.args(["serve", "-c"]).arg(folder.path().join("keystile.toml")).envs(home::variables());

    let running = Running::start(&mut command, &log);
    listening(&log).await;

    let process = format!("/proc/{}", running.id());
    for file in ["environ", "mem", "maps", "fd"] {
        assert_eq!(std::fs::metadata(format!("{process}/{file}")).unwrap().uid(), 0, "{file} belongs to root");
    }
    assert!(
        std::fs::read_to_string(format!("{process}/limits"))
            .unwrap()
            .lines()
            .any(|line| { line.starts_with("Max core file size") && line.split_whitespace().nth(4) == Some("0") })
    );
    assert!(std::fs::read_to_string(format!("{process}/status")).unwrap().contains("VmRSS"));
    assert_eq!(running.terminate().code(), Some(0));
}
