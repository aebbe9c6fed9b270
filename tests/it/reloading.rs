//! The configuration is read again while the program is at work: what is new holds, what is open goes on.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use keystile::clock::Clock;
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::authority::Authority;
use crate::support::gateway::claims;
use crate::support::home::{At, Home};
use crate::support::vendor::{TestVendor, streaming, whole};
use crate::support::{eventually, until};

/// A bot like the first, under another name.
fn more(name: &str) -> String {
    format!(
        "\n[bots.{name}]\nvendor = \"acme\"\nvendor_id = \"model-{name}\"\nvisibility = \"private\"\n\
         owners = [\"website\"]\n"
    )
}

fn edit(home: &Home, change: impl FnOnce(String) -> String) {
    let file = home.folder.path().join("keystile.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    // As an editor does it: beside, and moved into place.
    let beside = home.folder.path().join("new");
    std::fs::write(&beside, change(text)).unwrap();
    std::fs::rename(beside, file).unwrap();
}

fn hang_up(at: &At) {
    at.running.signal("HUP");
}

fn log(at: &At) -> String {
    std::fs::read_to_string(&at.log).unwrap()
}

/// The lines of `/readyz` and `/metrics` that say what became of the last reload.
async fn told_of_reloads(home: &Home, at: &At) -> Vec<String> {
    let mut told = Vec::new();
    for path in ["/readyz", "/metrics"] {
        let answer = home.http.get(format!("{}{path}", at.admin)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.unwrap();
        let is_of_reloads = |line: &&str| line.starts_with("the configuration") || line.starts_with("keystile_config");
        told.extend(text.lines().filter(is_of_reloads).map(str::to_owned));
    }
    told
}

async fn opened(home: &Home, at: &At, bot: &str) -> u16 {
    let call = home.http.post(format!("{}/v1/bots/{bot}/sessions", at.url));
    let answer = call.bearer_auth(home.owner.secret.expose()).json(&json!({})).send().await.unwrap();
    answer.status().as_u16()
}

async fn until_opened(home: &Home, at: &At, bot: &str, status: u16) {
    until(bot, async || (opened(home, at, bot).await == status).then_some(())).await;
}

#[tokio::test]
async fn what_is_new_holds_after_a_sighup_or_a_changed_file_and_streams_go_on() {
    let (vendor, senders) = streaming("text/event-stream");
    let home = Home::new(&vendor, "");
    let at = home.start().await;
    let token = home.mint(&at).await;
    let (mut open, sender) = home.begun(&at, &token, &senders).await;
    assert_eq!(opened(&home, &at, "second").await, 404);

    edit(&home, |text| text + &more("second"));
    hang_up(&at);
    until_opened(&home, &at, "second", 201).await;
    // Nobody asks this time.
    edit(&home, |text| text + &more("third"));
    until_opened(&home, &at, "third", 201).await;

    sender.send("data: two\n\n".into()).await.unwrap();
    assert_eq!(open.chunk().await.unwrap().unwrap(), "data: two\n\n", "it goes on");
    let who = || {
        let audit = std::fs::read_to_string(home.folder.path().join("keystile-audit.jsonl")).unwrap();
        let records = audit.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let reloads = records.filter(|record| record["action"] == "configuration.reload");
        reloads.map(|record| record["who"]["operator"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("the record of both", || who() == ["SIGHUP", "a changed file"]).await;
}

#[tokio::test]
async fn a_broken_file_is_refused_with_its_errors_and_the_one_before_stays_in_force() {
    let vendor = TestVendor::echo();
    let home = Home::new(&vendor, "");
    let at = home.start().await;
    let token = home.mint(&at).await;
    edit(&home, |text| text.replace("visibility = \"private\"", "visibility = \"secret\"") + &more("second"));
    hang_up(&at);
    eventually("it is told", || log(&at).contains("stays in force")).await;
    let told = log(&at);
    assert!(told.contains("bots.support.visibility") && told.contains("`secret` must be"), "{told}");
    let refused = told_of_reloads(&home, &at).await;
    assert!(refused[0].contains("was refused when it was read last"), "{refused:?}");
    assert_eq!(refused[1..], ["keystile_config_last_reload_successful 0"]);
    assert_eq!(opened(&home, &at, "second").await, 404);
    assert_eq!(home.say(&home.http, &at.url, &token).send().await.unwrap().status(), 200);

    edit(&home, |text| text.replace("visibility = \"secret\"", "visibility = \"private\""));
    until_opened(&home, &at, "second", 201).await;
    assert_eq!(told_of_reloads(&home, &at).await, ["keystile_config_last_reload_successful 1"]);
}

#[tokio::test]
async fn what_takes_a_new_process_says_so_and_the_rest_holds() {
    let vendor = TestVendor::echo();
    let home = Home::new(&vendor, "");
    let at = home.start().await;
    let token = home.mint(&at).await;
    edit(&home, |text| {
        let server = "[server]\nlimits = { connections = 9 }\ntimeouts = { head = \"9s\" }\n";
        text.replace("http://127.0.0.1:8080", "http://127.0.0.1:8081").replace("[server]\n", server) + &more("second")
    });
    hang_up(&at);
    until_opened(&home, &at, "second", 201).await;
    for section in ["server.public_url", "server.limits of connections", "server.timeouts of connections"] {
        eventually("it is told", || log(&at).contains(&format!("\"section\":\"{section}\""))).await;
    }
    assert_eq!(log(&at).matches("takes a new process").count(), 3, "{}", log(&at));
    // The issuer is what it was.
    assert_eq!(home.say(&home.http, &at.url, &token).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_bot_that_is_taken_away_takes_its_sessions_and_streams_along() {
    let (vendor, senders) = streaming("text/event-stream");
    let home = Home::new(&vendor, "");
    edit(&home, |text| text + &more("second"));
    let at = home.start().await;
    let token = home.mint(&at).await;
    let (open, _sender) = home.begun(&at, &token, &senders).await;

    edit(&home, |text| text.replace("[bots.support]", "[bots.other]"));
    hang_up(&at);
    let rest = open.text().await.unwrap();
    assert!(rest.contains("session_moved"), "{rest}");
    assert_eq!(home.say(&home.http, &at.url, &token).send().await.unwrap().status(), 409);
    assert_eq!((opened(&home, &at, "support").await, opened(&home, &at, "second").await), (404, 201));
    // And it is back.
    edit(&home, |text| text.replace("[bots.other]", "[bots.support]"));
    hang_up(&at);
    until_opened(&home, &at, "support", 201).await;
    let again = home.say(&home.http, &at.url, &token).send().await.unwrap();
    assert_eq!(again.status(), 200);
}

#[tokio::test]
async fn a_vendors_new_key_is_used_for_new_sessions() {
    let vendor = TestVendor::answering(|_| whole(200, "application/json", "{}"));
    let home = Home::new(&vendor, "");
    let key = home.folder.path().join("key");
    std::fs::write(&key, "sk-first-0123456789abcdef").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    edit(&home, |text| text.replace("{ env = \"VENDOR_KEY\" }", "{ file = \"key\" }"));
    let at = home.start().await;
    let token = home.mint(&at).await;
    assert_eq!(home.say(&home.http, &at.url, &token).send().await.unwrap().status(), 200);
    assert!(vendor.last().contains("sk-first-0123456789abcdef"));

    std::fs::write(&key, "sk-other-0123456789abcdef").unwrap();
    eventually("it is read again", || log(&at).contains("is in force")).await;
    // What the other key opened talks no more, and its bearer may end it all the same.
    assert_eq!(home.say(&home.http, &at.url, &token).send().await.unwrap().status(), 409);
    let session = format!("{}/v1/sessions/{}", at.url, claims(&token)["sid"].as_str().unwrap());
    assert_eq!(home.http.delete(session).bearer_auth(&token).send().await.unwrap().status(), 204);
    let token = home.mint(&at).await;
    assert_eq!(home.say(&home.http, &at.url, &token).send().await.unwrap().status(), 200);
    assert!(vendor.last().contains("sk-other-0123456789abcdef"));
    assert!(!log(&at).contains("0123456789abcdef"));
}

#[tokio::test]
async fn what_was_taken_of_a_vendors_key_stays_taken() {
    let home = Home::new(&TestVendor::echo(), "");
    edit(&home, |text| text.replace("profile  = \"openai\"", "profile  = \"openai\"\nlimits = { per_key = \"6/1h\" }"));
    let at = home.start().await;
    let token = home.mint(&at).await;
    let status = async || home.say(&home.http, &at.url, &token).send().await.unwrap().status().as_u16();
    let mut passed = 0;
    while status().await == 200 {
        passed += 1;
    }
    edit(&home, |text| text + &more("second"));
    hang_up(&at);
    until_opened(&home, &at, "second", 429).await;
    assert_eq!((status().await, passed), (429, 6));
}

#[tokio::test]
async fn a_certificate_that_was_replaced_is_shown_to_all_and_no_tls_session_goes_on_under_it() {
    let authority = Authority::new();
    let home = Home::new(&TestVendor::echo(), "tls = { cert = \"localhost.crt\", key = \"localhost.key\" }");
    authority.renew("localhost", home.folder.path());
    let at = home.start().await;
    let reached = async || TcpStream::connect(at.url.trim_start_matches("http://")).await.unwrap();
    // How the client was let in, and what it was shown then.
    let visit = async |client| {
        let mut stream = Authority::spoken(client, "localhost", reached().await).await;
        // Tickets come behind the handshake, with the first that is read.
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let tls = stream.get_ref().1;
        (tls.handshake_kind().unwrap(), tls.peer_certificates().unwrap()[0].clone().into_owned())
    };
    let first = authority.shown("localhost", reached().await).await;
    let visitors = [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| authority.client(&[version]));
    for visitor in &visitors {
        assert_eq!(visit(visitor).await, (HandshakeKind::Full, first.clone()));
        assert_eq!(visit(visitor).await, (HandshakeKind::Resumed, first.clone()));
    }

    authority.renew("localhost", home.folder.path());
    let shown = async || authority.shown("localhost", reached().await).await;
    let next = until("the new certificate is shown", async || Some(shown().await).filter(|it| *it != first)).await;

    for visitor in &visitors {
        assert_eq!(visit(visitor).await, (HandshakeKind::Full, next.clone()));
    }
}

/// A gateway that speaks TLS, with a certificate that is good until the year 3000.
async fn certified() -> (Authority, Home, At) {
    let authority = Authority::new();
    let home = Home::new(&TestVendor::echo(), "tls = { cert = \"localhost.crt\", key = \"localhost.key\" }");
    authority.renew_until("localhost", home.folder.path(), 3000);
    let at = home.start().await;
    (authority, home, at)
}

/// The certificate that it shows.
async fn shown(authority: &Authority, at: &At) -> CertificateDer<'static> {
    let stream = TcpStream::connect(at.url.trim_start_matches("http://")).await.unwrap();
    authority.shown("localhost", stream).await
}

#[tokio::test]
async fn a_certificate_that_has_expired_does_not_take_the_place_of_one_that_is_good() {
    let (authority, home, at) = certified().await;
    let shown = async || shown(&authority, &at).await;
    let ends = async || {
        let metrics = home.http.get(format!("{}/metrics", at.admin)).send().await.unwrap().text().await.unwrap();
        let line =
            metrics.lines().find(|line| line.starts_with("keystile_tls_certificate_not_after_seconds ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let (first, year_3000) = (shown().await, 32_503_680_000.0);
    assert_eq!(ends().await, year_3000);

    authority.renew_until("localhost", home.folder.path(), 2020);
    edit(&home, |text| text + &more("second"));
    hang_up(&at);
    eventually("it is told", || log(&at).contains("the one before stays in force")).await;
    let told = log(&at);
    assert!(told.contains("server.tls.cert has expired: it ended at 2020-01-01T00:00:00Z"), "{told}");
    assert_eq!((shown().await, ends().await), (first.clone(), year_3000));
    assert_eq!(told_of_reloads(&home, &at).await.len(), 2);
    let offered = || log(&at).contains("the configuration was read again and is in force");
    eventually("what else has changed holds", offered).await;

    authority.renew_until("localhost", home.folder.path(), 3001);
    until("the good one is shown", async || Some(shown().await).filter(|it| *it != first)).await;
    assert!(ends().await > year_3000);
}

#[tokio::test]
async fn a_certificate_that_comes_early_is_taken_when_it_is_good() {
    let (authority, home, at) = certified().await;
    let shown = async || shown(&authority, &at).await;
    let first = shown().await;

    let soon = Duration::from_millis(Clock::system().now().millis()) + Duration::from_secs(5);
    authority.renew_from("localhost", home.folder.path(), soon);
    hang_up(&at);
    eventually("it is told", || log(&at).contains("server.tls.cert is good only from")).await;
    assert_eq!(shown().await, first);

    eventually("it is taken", || log(&at).contains("the new certificate at server.tls.cert is in force")).await;
    assert!(shown().await != first && told_of_reloads(&home, &at).await.len() == 1);
}

#[tokio::test]
async fn what_is_not_enabled_any_more_ends_with_its_streams_and_comes_back() {
    for section in ["[bots.support]", "[vendors.acme]", "[clients.website]"] {
        let (vendor, senders) = streaming("text/event-stream");
        let home = Home::new(&vendor, "");
        let at = home.start().await;
        let token = home.mint(&at).await;
        let (open, _sender) = home.begun(&at, &token, &senders).await;

        edit(&home, |text| text.replace(section, &format!("{section}\nenabled = false")));
        hang_up(&at);
        let rest = open.text().await.unwrap();
        assert!(rest.contains("session_moved"), "{section}: {rest}");
        let refused = opened(&home, &at, "support").await;
        assert_eq!(refused, if section == "[clients.website]" { 401 } else { 404 }, "{section}");

        edit(&home, |text| text.replace("\nenabled = false", ""));
        hang_up(&at);
        until_opened(&home, &at, "support", 201).await;
        assert_eq!(home.say(&home.http, &at.url, &token).send().await.unwrap().status(), 200, "{section}");
    }
}

#[tokio::test]
async fn an_owners_stream_ends_with_its_client_its_bot_and_its_vendor() {
    for section in ["[bots.support]", "[vendors.acme]", "[clients.website]", "owners"] {
        let (vendor, senders) = streaming("text/event-stream");
        let home = Home::new(&vendor, "");
        let profile = "title = \"Own\"\n[[route]]\ncall = \"GET /all\"\nwho = \"owner\"\n";
        std::fs::write(home.folder.path().join("own.toml"), profile).unwrap();
        edit(&home, |text| {
            text.replace("\"openai\"", "\"./own.toml\"")
                + "\n[clients.other]\nsecret_sha256 = \""
                + &"ab".repeat(32)
                + "\"\n"
        });
        let at = home.start().await;
        let all = || home.http.get(format!("{}/all", at.url)).bearer_auth(home.owner.secret.expose());
        let mut open = all().send().await.unwrap();
        assert_eq!(open.status(), 200);
        let sender = senders.lock().pop().unwrap();
        sender.send("data: one\n\n".into()).await.unwrap();
        assert_eq!(open.chunk().await.unwrap().unwrap(), "data: one\n\n");

        edit(&home, |text| match section {
            "owners" => text.replace("[\"website\"]", "[\"other\"]"),
            section => text.replace(section, &format!("{section}\nenabled = false")),
        });
        hang_up(&at);
        let rest = open.text().await.unwrap();
        assert!(rest.contains("session_moved"), "{section}: {rest}");
        assert!(all().send().await.unwrap().status().is_client_error(), "{section}");
        eventually("the end of the vendor's call", || sender.is_closed()).await;
    }
}

#[tokio::test]
async fn a_balancer_that_is_not_trusted_any_more_passes_nothing_on() {
    let home = Home::new(&TestVendor::echo(), "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]");
    let at = home.start().await;
    let served = async || {
        let mut stream = TcpStream::connect(at.url.trim_start_matches("http://")).await.unwrap();
        let call = "PROXY UNKNOWN\r\nGET /.well-known/jwks.json HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
        let (mut answer, _closed) = (Vec::new(), stream.write_all(call.as_bytes()).await);
        let _closed = stream.read_to_end(&mut answer).await;
        answer.starts_with(b"HTTP/1.1 200 ")
    };
    assert!(served().await);
    edit(&home, |text| text.replace("[\"127.0.0.1\"]", "[\"127.0.0.2\"]"));
    hang_up(&at);
    until("it is closed", async || (!served().await).then_some(())).await;
    edit(&home, |text| text.replace("[\"127.0.0.2\"]", "[\"127.0.0.1\", \"192.0.2.1\"]"));
    hang_up(&at);
    until("it is believed again", async || served().await.then_some(())).await;
}

#[tokio::test]
async fn what_was_wrong_in_a_file_that_the_configuration_names_may_be_mended_there() {
    let home = Home::new(&TestVendor::echo(), "");
    let at = home.start().await;
    let profile = home.folder.path().join("own.toml");
    std::fs::write(&profile, "title = 1").unwrap();
    edit(&home, |text| text.replace("\"openai\"", "\"./own.toml\"") + &more("second"));
    hang_up(&at);
    eventually("it is told", || log(&at).contains("own.toml:1")).await;
    assert_eq!(opened(&home, &at, "second").await, 404);

    std::fs::write(&profile, "title = \"Own\"\n[[route]]\ncall = \"GET /read\"\n").unwrap();
    until_opened(&home, &at, "second", 201).await;
}

#[tokio::test]
async fn of_what_takes_a_new_process_only_what_has_changed_is_named() {
    let home = Home::new(&TestVendor::echo(), "");
    let secret = home.folder.path().join("bearer");
    std::fs::write(&secret, "first-0123456789abcdef").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let traces = "\n[traces]\nendpoint = \"http://127.0.0.1:9\"\nheaders = { authorization = { file = \"bearer\" } }\n";
    edit(&home, |text| text + traces);
    let at = home.start().await;
    edit(&home, |text| text + &more("second"));
    hang_up(&at);
    until_opened(&home, &at, "second", 201).await;

    std::fs::write(&secret, "other-0123456789abcdef").unwrap();
    edit(&home, |text| text + &more("third"));
    hang_up(&at);
    until_opened(&home, &at, "third", 201).await;
    eventually("it is told", || log(&at).contains("takes a new process")).await;
    let log = log(&at);
    assert_eq!(
        (log.matches("takes a new process").count(), log.matches("\"section\":\"traces\"").count()),
        (1, 1),
        "{log}"
    );
    assert!(!log.contains("0123456789abcdef"));
}
