//! The rules of a profile, one test each.

use super::*;

/// A profile without problems, for tests that spoil it in one place.
const GOOD: &str = r#"title = "Plain"
base_url = "https://api.example.com"

[open]
call = "POST /open"
set.header = { Authorization = "Bearer {key}" }
set.body = { ttl = "{ttl}" }
session = "/data/id"
vendor_token = "/data/token"

[accept]
call = "POST /bots/{bot}/open"
credential = "header X-Api-Key"
fields = { ttl = "body seconds" }
status = 201
reply.json = { token = "{token}" }

[[route]]
call = "POST /chat/{session}/messages/{mid}"
to = "/chat/{session}/{mid}"
set.header = { Authorization = "Bearer {vendor_token}" }

[[route]]
call = "POST /search"
set.query = { key = "{key}" }
allow = { header = [], body = ["text"] }

[error]
json = { error = "{message}" }
codes = { 401 = "UNAUTHENTICATED" }
"#;

fn problems(text: &str) -> Vec<String> {
    let problems = Problems::default();
    let profile = read("plain", "plain.toml", text, &Options::default(), &problems);
    let found: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
    assert!(profile.is_some() || !found.is_empty(), "nothing came back, and nothing was said to be wrong");
    found
}

/// The only problem of the good profile in which `from` reads `to`.
#[track_caller]
fn problem(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let found = problems(&GOOD.replacen(from, to, 1));
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().unwrap()
}

#[track_caller]
fn has(problem: &str, parts: &[&str]) {
    for part in parts {
        assert!(problem.contains(part), "`{part}` is not in: {problem}");
    }
}

#[test]
fn the_built_in_profiles_have_no_problems() {
    for (name, text) in BUILT_IN {
        let problems = Problems::default();
        let profile = read(name, name, text, &Options::default(), &problems);
        assert_eq!(problems.into_sorted(), []);
        assert!(profile.is_some_and(|profile| !profile.routes.is_empty()), "{name}");
    }
    assert!(built_in("nobody").is_none());
    assert_eq!(problems(GOOD), [""; 0]);
}

#[test]
fn chatbotkits_account_key_opens_sessions_and_lists_messages_and_nothing_else() {
    let problems = Problems::default();
    let profile =
        read("chatbotkit", "chatbotkit", built_in("chatbotkit").unwrap(), &Options::default(), &problems).unwrap();
    let with_key: Vec<&str> =
        profile.routes.iter().filter(|route| route.carries_key).map(|route| route.call.as_str()).collect();
    assert_eq!(with_key, ["GET /api/v1/conversation/{session}/message/list"]);
}

#[test]
fn what_has_no_value_and_what_has_no_place_is_told() {
    let text = problem("session = \"/data/id\"", "session = \"text\"");
    has(&text, &["open.vendor_token: is read out of JSON", "the whole answer is the session's id"]);
    let text = problem("call = \"POST /open\"", "call = \"GET /open\"");
    has(&text, &["open.call: a GET or HEAD has no body"]);
    let text = problem("vendor_token = \"/data/token\"\n", "");
    has(&text, &["plain.toml:17: route[0]: {vendor_token} has no value: write vendor_token in [open]"]);
    let identify = "[identify]\ncall = \"GET /who\"\nset.body = { email = \"{contact.email}\" }\n\n[accept]";
    has(&problem("[accept]", identify), &["identify.call: a GET or HEAD has no body"]);
}

#[test]
fn all_problems_of_a_profile_are_reported_at_once() {
    let found =
        problems("base_url = 1\nbot_id = \"uuid\"\n[open]\ncall = \"POST open\"\n[[route]]\ncall = \"FETCH\"\n");
    assert_eq!(found, EXPECTED, "{found:#?}");
}

/// What is wrong with the thoroughly broken profile.
const EXPECTED: &[&str] = &[
    "plain.toml:1: base_url: must be a string, not an integer",
    "plain.toml:1: title: is missing: the vendor's name, for people",
    "plain.toml:2: bot_id: `uuid` must be \"text\" or \"number\"",
    "plain.toml:3: open.session: is missing: \"text\", or a JSON pointer to the id",
    "plain.toml:4: open.call: `POST open`: a path begins with `/`",
    "plain.toml:6: route[0].call: `FETCH` must be a method and a path, such as \"POST /chat\"",
];

#[test]
fn a_wrong_value_is_told_with_its_place_and_what_would_be_right() {
    has(&problem("title = \"Plain\"", ""), &["plain.toml:1: title: is missing"]);
    has(
        &problem("title = \"Plain\"", "title = \"Plain\"\nbot_id = \"uuid\""),
        &["plain.toml:2: bot_id", "\"text\" or \"number\""],
    );
    has(&problem("\"POST /open\"", "\"/open\""), &["plain.toml:5: open.call"]);
    has(&problem("session = \"/data/id\"", ""), &["open.session: is missing", "JSON pointer"]);
    has(&problem("\"/data/id\"", "\"data.id\""), &["plain.toml:8: open.session", "RFC 6901"]);
    has(&problem("\"/data/token\"", "\"data\""), &["plain.toml:9: open.vendor_token", "RFC 6901"]);
    has(&problem("\"header X-Api-Key\"", "\"X-Api-Key\""), &["plain.toml:13: accept.credential", "header NAME"]);
    has(&problem("\"body seconds\"", "\"seconds\""), &["plain.toml:14: accept.fields.ttl", "body NAME"]);
    has(&problem("status = 201", "status = 302"), &["plain.toml:15: accept.status", "from 200 to 299"]);
    has(&problem("401 = ", "200 = "), &["plain.toml:30: error.codes.200", "from 400 to 599"]);
    has(&problem("json = { error = \"{message}\" }", ""), &["error.codes", "of no use without `json`"]);
    has(
        &problem("allow = { header = [], ", "limits.body = \"much\"\nallow = { header = [], "),
        &["route[1].limits.body", "256KiB"],
    );
}

#[test]
fn an_unknown_key_is_refused_with_what_was_meant() {
    has(
        &problem("session = ", "sesion = 1\nsession = "),
        &["plain.toml:8: open.sesion: is not a key here; did you mean `session`?"],
    );
    has(&problem("to = ", "mood = 1\nto = "), &["route[0].mood: is not a key here", "the keys are: "]);
}

#[test]
fn a_bot_is_named_in_one_place_at_most() {
    has(
        &problem("credential = \"header", "bot = \"query bot\"\ncredential = \"header"),
        &["plain.toml:13: accept.bot", "only one of the two"],
    );
    assert_eq!(problems(&GOOD.replace("/bots/{bot}/open", "/open-here")), [""; 0]);
}

#[test]
fn what_an_owners_route_may_have_and_what_may_not() {
    let owner =
        |more: &str| problem("call = \"POST /search\"", &format!("call = \"POST /search\"\nwho = \"owner\"\n{more}"));
    has(&owner("token = \"body token\""), &["route[1].who", "no slot for a session token"]);
    has(&problem("to = ", "who = \"owner\"\nto = "), &["route[0].who", "an owner has no session"]);
    has(&problem("to = ", "who = \"nobody\"\nto = "), &["route[0].who", "\"session\"", "\"owner\""]);
}

#[test]
fn only_a_call_without_secrets_is_not_scrubbed() {
    has(&problem("to = ", "scrub = \"none\"\nto = "), &["route[0].scrub", "carry no secret"]);
    has(&problem("to = ", "scrub = \"some\"\nto = "), &["route[0].scrub", "must be \"none\""]);
    let without = GOOD.replace("set.header = { Authorization = \"Bearer {vendor_token}\" }", "scrub = \"none\"");
    assert_eq!(problems(&without), [""; 0]);
}

#[test]
fn options_have_defaults_and_are_put_in_when_the_profile_is_read() {
    let text = GOOD.replace("[open]", "[options]\nkey_header = { default = \"X-Key\" }\nmodel = {}\nlimit = { default = 7 }\nempty = { default = \"\" }\n\n[open]");
    let text = text.replace(
        "set.body = { ttl",
        "set.body = { limit = \"{option.limit}\", model = \"{option.model}\", none = \"{option.empty}\", ttl",
    );
    let text = text.replace("{ Authorization = \"Bearer {key}\" }", "{ \"{option.key_header}\" = \"{key}\" }");
    let given = Options { values: [("model".to_owned(), "m-{contact.email}".into())].into(), gateway: String::new() };
    let problems = Problems::default();
    let profile = read("plain", "plain.toml", &text, &given, &problems).unwrap();
    assert_eq!(problems.into_sorted(), []);
    let open = profile.open.unwrap();
    assert_eq!(open.set.header[0].0, "x-key");
    assert_eq!(
        format!("{:?}", open.set.body),
        "[(\"limit\", Fixed(Number(7))), (\"model\", Text(m-{ContactEmail})), (\"none\", Whole(Nothing)), (\"ttl\", Whole(Ttl))]"
    );
}

#[test]
fn an_option_holds_no_secret_and_must_be_declared() {
    has(&problem("{ttl}", "{option.ttl}"), &["open.set.body.ttl", "[options] declares them"]);
    let text =
        GOOD.replace("[open]", "[options]\nk = { default = \"{key}\" }\n\n[open]").replace("{ttl}", "{option.k}");
    has(&problems(&text)[0], &["open.set.body.ttl", "no other placeholders"]);
}

#[test]
fn an_answer_has_one_body() {
    has(&problem("reply.json", "reply.text = \"x\"\nreply.json"), &["accept.reply", "either `text` or `json`"]);
    has(&problem("reply.json = { token = \"{token}\" }", ""), &["accept.reply", "either `text` or `json`"]);
}

#[test]
fn a_secret_has_no_place_in_the_answer_to_a_session_call() {
    for secret in ["{key}", "{vendor_token}"] {
        for reply in [format!("reply.text = \"{secret}\""), format!("reply.json = {{ token = \"{secret}\" }}")] {
            let found = problem("reply.json = { token = \"{token}\" }", &reply);
            has(&found, &["plain.toml:16: accept.reply", "no place in an answer"]);
        }
    }
}

#[test]
fn a_placeholder_that_does_not_exist_is_refused_with_those_that_do() {
    has(
        &problem("Bearer {vendor_token}", "Bearer {vendortoken}"),
        &[
            "plain.toml:21: route[0].set.header.Authorization",
            "{vendortoken} is not a placeholder",
            "{vendor_token}",
            "{mid}",
        ],
    );
    has(
        &problem("/chat/{session}/{mid}", "/chat/{session}/{id}"),
        &["plain.toml:20: route[0].to", "{id} is not a placeholder"],
    );
    has(&problem("{ttl}", "{ttl"), &["open.set.body.ttl", "brace without its partner"]);
}

#[test]
fn the_session_call_cannot_use_what_it_is_to_find_out() {
    for variable in ["{session}", "{vendor_token}"] {
        has(&problem("{ttl}", variable), &["open.call", "it is where they come from"]);
    }
}

#[test]
fn a_route_that_carries_the_key_lists_what_passes() {
    let allow = "allow = { header = [], body = [\"text\"] }\n";
    for missing in
        ["", "allow = { header = [] }\n", "allow = { body = [\"text\"] }\n", "allow = { query = [\"page\"] }\n"]
    {
        has(&problem(allow, missing), &["route[1].allow", "{key}", "allow.header and allow.body"]);
    }
    for written in
        ["allow = { header = \"*\", body = \"*\" }\n", "allow = { header = [\"x-note\", \"x-my-*\"], body = [] }\n"]
    {
        assert_eq!(problems(&GOOD.replace(allow, written)), [""; 0], "{written}");
    }
    let get = GOOD.replace(allow, "allow.header = []\n").replace("POST /search", "GET /search");
    assert_eq!(problems(&get), [""; 0]);
}

#[test]
fn what_is_known_at_the_opening_only_is_not_written_into_a_call() {
    for variable in ["{ttl}", "{visit}", "{messages}", "{meta}", "{meta.page}"] {
        has(&problem("{vendor_token}", variable), &["route[0].set", "known where a session is opened"]);
    }
}

#[test]
fn our_own_token_is_never_sent_to_a_vendor() {
    for variable in ["{token}", "{expires_ms}"] {
        for (from, path) in [
            ("{vendor_token}", "route[0].set.header.Authorization"),
            ("{key}", "open.set.header.Authorization"),
            ("{ttl}", "open.set.body.ttl"),
        ] {
            has(&problem(from, variable), &[path, "our own token is never sent to a vendor"]);
        }
        let to = "to = \"/chat/{session}/{mid}\"";
        let found = problems(&GOOD.replace(to, &format!("to = \"/chat/{variable}/{{mid}}\"")));
        assert!(!found.is_empty(), "{variable} went into a path towards the vendor");
    }
}

#[test]
fn a_secret_does_not_belong_in_a_path() {
    for variable in ["{key}", "{vendor_token}"] {
        let found = problem("/chat/{session}/{mid}", &format!("/chat/{variable}/{{mid}}"));
        has(&found, &["plain.toml:20: route[0].to", "a secret does not belong in a path"]);
    }
    has(&problem("POST /open", "POST /open/{key}"), &["plain.toml:5: open.call", "a secret does not belong in a path"]);
}

#[test]
fn a_header_that_the_gateway_writes_itself_is_not_set_by_a_profile() {
    for name in set::OWN_HEADERS {
        let found = problem(
            "set.header = { Authorization = \"Bearer {vendor_token}\" }",
            &format!("set.header = {{ {name} = \"x\" }}"),
        );
        has(&found, &[&format!("route[0].set.header.{name}"), "written by the gateway itself"]);
    }
    has(&problem("header = []", "header = [\"a b\"]"), &["route[1].allow.header", "not a header's name"]);
}

#[test]
fn a_header_that_could_never_be_sent_is_refused_when_it_is_read() {
    for wrong in ["\\n", "\\u0000", "\\u007f"] {
        let found = problem("Bearer {vendor_token}", &format!("Bearer {{vendor_token}}{wrong}"));
        has(&found, &["plain.toml:21: route[0].set.header.Authorization", "control character"]);
    }
}

#[test]
fn a_free_segment_never_stands_for_what_is_ours() {
    for name in ["key", "vendor_token", "contact", "ttl", "token"] {
        let found = problem("/messages/{mid}\"\nto", &format!("/messages/{{{name}}}\"\nto"));
        has(&found, &["plain.toml:19: route[0].call", "a meaning of its own"]);
    }
    has(
        &problem("{session}/messages/{mid}\"", "{mid}/messages/{mid}\""),
        &["plain.toml:19: route[0].call", "{mid} twice"],
    );
}

#[test]
fn a_get_has_no_body_to_write_into() {
    let found = problem(
        "POST /chat/{session}/messages/{mid}\"",
        "GET /chat/{session}/messages/{mid}\"\nset.body = { id = \"{session}\" }",
    );
    has(&found, &["route[0].call", "has no body"]);
}

#[test]
fn an_error_has_no_other_placeholders_than_its_message_and_code() {
    for wrong in ["{status}", "{Message}", "{ message }", "{contact.name}"] {
        let found = problem("\"{message}\"", &format!("[\"{{code}}: {{message}}\", {{ a = \"{wrong}\" }}]"));
        has(&found, &["plain.toml:29: error.json", wrong, "{message} and {code}, and no others"]);
    }
    // A vendor's error may be JSON in a text.
    for fine in ["{code}: {message}", "{}", "{ 'code': '{code}', 'a': {} }"] {
        assert_eq!(problems(&GOOD.replace("\"{message}\"", &format!("\"{fine}\""))), [""; 0], "{fine}");
    }
}

#[test]
fn the_codes_of_errors_are_of_one_type() {
    let codes = "{ 401 = \"UNAUTHENTICATED\" }";
    has(
        &problem(codes, "{ 401 = \"A\", 404 = 404 }"),
        &["plain.toml:30: error.codes.404: must be a string, as the codes before"],
    );
    has(&problem(codes, "{ 401 = 401, 404 = \"B\" }"), &["error.codes.404: must be an integer"]);
    has(
        &problem(codes, "{ 401 = 401 }\nexpired = { status = 403, code = \"B\" }"),
        &["plain.toml:31: error.expired.code: must be an integer"],
    );
    assert_eq!(problems(&GOOD.replace(codes, "{ 401 = 1, 404 = 2 }")), [""; 0]);
}

#[test]
fn what_is_set_is_set_once_whatever_its_case() {
    has(
        &problem("{ Authorization = \"Bearer {key}\" }", "{ X-Key = \"{key}\", x-key = \"fixed\" }"),
        &["plain.toml:6: open.set.header.x-key: `x-key` is set twice", "case does not tell names apart"],
    );
    has(
        &problem("{ ttl = \"{ttl}\" }", "{ SessionID = \"1\", sessionId = \"2\" }"),
        &["plain.toml:7: open.set.body.sessionId: `sessionId` is set twice"],
    );
    has(&problem("{ key = \"{key}\" }", "{ key = \"{key}\", KEY = \"2\" }"), &["route[1].set.query.KEY", "set twice"]);
    // Through an option, too, and none where its option is empty.
    for (value, count) in [("authorization", 1), ("x-other", 0), ("", 0)] {
        let text = GOOD
            .replace("[open]", &format!("[options]\nname = {{ default = \"{value}\" }}\n\n[open]"))
            .replace("Bearer {key}\" }", "Bearer {key}\", \"{option.name}\" = \"2\" }");
        assert_eq!(problems(&text).len(), count, "{value}: {:?}", problems(&text));
    }
}

#[test]
fn a_star_may_only_end_a_headers_name() {
    let allow = "header = []";
    for wrong in ["x-*-id", "*-id", "x-**"] {
        has(
            &problem(allow, &format!("header = [\"{wrong}\"]")),
            &["route[1].allow.header", wrong, "a `*` may only end a name"],
        );
        let strip = problem("to = ", &format!("strip.header = [\"{wrong}\"]\nto = "));
        has(&strip, &["plain.toml:20: route[0].strip.header", wrong, "a `*` may only end a name"]);
    }
    for key in ["strip.query", "strip.body", "refuse.body"] {
        let found = problem("to = ", &format!("{key} = [\"good\", \"x_*\"]\nto = "));
        has(&found, &[&format!("route[0].{key}: `x_*`: only a header's name may end in `*`")]);
    }
    has(&problem("body = [\"text\"]", "body = [\"x_*\"]"), &["route[1].allow.body: `x_*`"]);
}

#[test]
fn a_star_in_a_list_is_not_all() {
    let allow = "allow = { header = [], body = [\"text\"] }";
    for (key, list) in
        [("header", "{ header = [\"*\"], body = [] }"), ("body", "{ header = [], body = [\"text\", \"*\"] }")]
    {
        let found = problem(allow, &format!("allow = {list}"));
        has(&found, &[&format!("plain.toml:26: route[1].allow.{key}"), "write \"*\" without the list"]);
    }
    let found = problem(allow, "allow = { header = [], query = [\"*\"], body = [] }");
    has(&found, &["route[1].allow.query", "write \"*\" without the list"]);
}

#[test]
fn a_header_that_never_passes_is_not_allowed() {
    for wrong in
        ["Authorization", "Cookie", "range", "If-None-Match", "x-forwarded-for", "X-Forwarded-*", "Sec-*", "X_Real_IP"]
    {
        let found = problem("header = []", &format!("header = [\"{wrong}\"]"));
        has(&found, &["route[1].allow.header", &format!("`{}` never passes", wrong.to_ascii_lowercase())]);
    }
    for fine in ["x-*", "a*", "accept-language", "x-forward"] {
        assert_eq!(problems(&GOOD.replace("header = []", &format!("header = [\"{fine}\"]"))), [""; 0], "{fine}");
    }
    let two = problems(&GOOD.replace("header = []", "header = [\"Authorization\", \"Cookie\"]"));
    assert_eq!(two.len(), 2, "{two:?}");
}

#[test]
fn a_pointer_is_one_of_rfc_6901() {
    for wrong in ["/session/~2", "/~", "/a~/b"] {
        for (from, path) in [("\"/data/id\"", "open.session"), ("\"/data/token\"", "open.vendor_token")] {
            has(&problem(from, &format!("\"{wrong}\"")), &[path, wrong, "RFC 6901", "`~0`", "`~1`"]);
        }
    }
    let failure = problem("vendor_token =", "failure = { when = \"/a~b\" }\nvendor_token =");
    has(&failure, &["plain.toml:9: open.failure.when", "RFC 6901"]);
    assert_eq!(problems(&GOOD.replace("/data/id", "/da~1ta/~0id/0")), [""; 0]);
}

#[test]
fn a_profiles_own_base_url_is_checked_where_it_stands() {
    let good = "\"https://api.example.com\"";
    for (wrong, says) in [
        ("api.example.com", "must be a URL such as \"https://api.example.com\""),
        ("ftp://api.example.com", "must be a URL"),
        ("https://api.example.com?key=1", "without a query"),
        ("https://user:word@api.example.com", "a user or password"),
        ("https://api.example.com:99999", "a port that does not exist"),
    ] {
        has(&problem(good, &format!("\"{wrong}\"")), &["plain.toml:2: base_url: ", says]);
    }
    for right in ["http://127.0.0.1:9000/v2", "https://[::1]:8443", "http://api.example.com"] {
        assert_eq!(problems(&GOOD.replace(good, &format!("\"{right}\""))), [""; 0], "{right}");
    }
}

#[test]
fn a_call_is_in_a_profile_once() {
    let found = problem("\"POST /search\"", "\"POST /Bots/{session}/open\"");
    has(&found, &["plain.toml:24: route[1].call", "`POST /Bots/{session}/open` is also the call of [accept]"]);
    let found = problem("\"POST /search\"", "\"POST /chat/{bot}/messages/{id}\"");
    has(&found, &["plain.toml:24: route[1].call", "is also the call of the route of line 18"]);
    let also_wrong =
        GOOD.replace("\"POST /search\"", "\"POST /bots/{bot}/open\"\nwho = \"nobody\"").replace("201", "302");
    assert_eq!(problems(&also_wrong).len(), 3, "{:?}", problems(&also_wrong));
    assert_eq!(problems(&GOOD.replace("\"POST /search\"", "\"PUT /bots/{bot}/open\"")), [""; 0]);
}
