//! `keystile profile`: what it tells of vendors' APIs, and of a file that is wrong.

use std::process::Output;

use serde_json::Value;

use crate::support::program::{complained, run, said};

const DONE: Option<i32> = Some(0);
const MISUSED: Option<i32> = Some(2);

const BUILT_IN: &[&str] = &["aichatbothub", "chatbotkit", "directline", "genesys", "hottask", "openai", "superseek"];

fn show(name: &str) -> Output {
    run(&["profile", "show", name])
}

/// The lines, with their columns one space apart.
fn lines(output: &Output) -> Vec<String> {
    said(output).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn profile_list_names_each_built_in_profile_once() {
    let text = run(&["profile", "list"]);
    assert_eq!((text.status.code(), complained(&text).as_str()), (DONE, ""));
    let names: Vec<String> = said(&text).lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    assert_eq!(names, BUILT_IN);
    let listed: Value = serde_json::from_str(&said(&run(&["profile", "list", "--json"]))).unwrap();
    let names: Vec<&str> = listed.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, BUILT_IN);
    assert_eq!(listed[1]["baseUrl"], "https://api.chatbotkit.com");
    assert_eq!(listed[3]["baseUrl"], Value::Null);
    assert!(listed[3]["options"][0]["name"].is_string());
}

#[test]
fn profile_show_tells_of_each_built_in_profile() {
    for name in BUILT_IN {
        let shown = show(name);
        assert_eq!((shown.status.code(), complained(&shown).as_str()), (DONE, ""), "{name}");
        assert!(said(&shown).lines().next().unwrap().ends_with(&format!(", profile {name}")), "{name}");
        // Names of types are for developers.
        assert!(!said(&shown).contains("VendorToken") && !said(&shown).contains("%7B"), "{}", said(&shown));
    }
}

#[test]
fn profile_show_says_what_a_call_sends_and_what_it_lets_pass() {
    let shown = lines(&show("chatbotkit"));
    let from =
        shown.iter().position(|line| line == "POST /api/v1/conversation/{session}/message/{mid}/upvote").unwrap();
    assert_eq!(
        shown[from + 1..from + 9],
        [
            "who the bearer of a session token",
            "sent POST /v1/conversation/{session}/message/{mid}/upvote",
            "set header authorization = Bearer {vendor_token}",
            "stripped header x-runas-*",
            "body extensions, debug",
            "passing header x-timezone",
            "query: none",
            "body: all but what is set, stripped or refused",
        ]
    );
    for line in [
        "sent POST /v1/bot/{bot}/session/create",
        "session id /conversationId",
        "call POST /api/v1/bot/{bot}/session/create",
        "credential header authorization",
        "body limit 16777216 bytes",
        "notes the account key goes into this call",
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{line}: {shown:#?}");
    }
}

#[test]
fn profile_show_says_of_a_call_that_renews_that_nothing_of_it_is_sent() {
    let shown: Value = serde_json::from_str(&said(&run(&["profile", "show", "directline", "--json"]))).unwrap();
    let parts = shown.as_array().unwrap();
    let of = |heading: &str| &parts.iter().find(|part| part["heading"] == heading).unwrap()["rows"];
    let renewing = of("POST /v3/directline/tokens/refresh");
    assert!(renewing.get("sent").is_none() && renewing.get("passing").is_none(), "{renewing}");
    assert!(renewing["notes"][0].as_str().unwrap().starts_with("answered by the gateway alone"), "{renewing}");
    assert!(of("POST /v3/directline/conversations")["sent"].is_array());
}

#[test]
fn profile_show_has_options_and_what_an_empty_one_does() {
    let shown = lines(&show("genesys"));
    for line in ["agent = \"\"", "query tenantId: never sent, as its option is empty"] {
        assert!(shown.iter().any(|shown| shown == line), "{line}: {shown:#?}");
    }
}

#[test]
fn profile_show_toml_is_the_file_itself() {
    let shown = run(&["profile", "show", "openai", "--toml"]);
    assert_eq!(shown.status.code(), DONE);
    assert_eq!(said(&shown), include_str!("../../config/vendors/openai.toml"));
}

#[test]
fn profile_show_reports_every_problem_of_a_file_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.toml");
    let file = file.to_str().unwrap();
    std::fs::write(file, "title = \"Acme\"\nbot_id = \"roman\"\n[[route]]\ncall = \"POST /{nobody\"\n").unwrap();
    let shown = show(file);
    assert_eq!((shown.status.code(), said(&shown).as_str()), (MISUSED, ""));
    let problems = complained(&shown);
    assert!(problems.starts_with(&format!("{file}:2: bot_id: ")), "{problems}");
    assert!(problems.contains(&format!("{file}:4: route")), "{problems}");
}

#[test]
fn profile_show_shows_a_file_whose_option_must_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.toml");
    let text =
        "title = \"Acme\"\n[options]\ndeployment = {}\n[[route]]\ncall = \"GET /a\"\nto = \"/{option.deployment}/a\"\n";
    std::fs::write(&file, text).unwrap();
    let shown = lines(&show(file.to_str().unwrap()));
    for line in ["options deployment: must be given", "sent GET /option.deployment/a"] {
        assert!(shown.iter().any(|shown| shown == line), "{line}: {shown:#?}");
    }
}

#[test]
fn profile_show_of_an_unknown_name_tells_the_known_ones_and_ends_with_2() {
    let shown = show("acme");
    assert_eq!((shown.status.code(), said(&shown).as_str()), (MISUSED, ""));
    assert!(complained(&shown).contains("there is no built-in profile `acme`; there are aichatbothub, chatbotkit"));
    let shown = show("./nowhere.toml");
    assert_eq!(shown.status.code(), MISUSED);
    assert!(complained(&shown).contains("./nowhere.toml cannot be read"), "{}", complained(&shown));
}
