//! `keystile profile`

use clap::Subcommand;
use serde_json::{Value, json};

use super::sheet::{Sheet, written, written_text};
use super::{Outcome, complain, say};
use crate::document::{Problem, Problems};
use crate::net::BaseUrl;
use crate::vendor::{self, Accept, BotId, Declared, Meta, Open, Options, Place, Profile, Reply, SessionSource};

/// Where a profile's `{gateway}` is, as there is no configuration that would say it.
const GATEWAY: &str = "https://gateway.example";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The built-in profiles: name, vendor, base URL.
    #[command(after_help = "Example:\n  keystile profile list")]
    List {
        /// Write JSON: name, title, baseUrl, options.
        #[arg(long)]
        json: bool,
    },
    /// What one profile says: the session call, and each call that a token is for.
    #[command(
        after_help = "Examples:\n  keystile profile show chatbotkit\n  keystile profile show chatbotkit --toml > acme.toml\n  \
                      keystile profile show ./acme.toml"
    )]
    Show {
        /// A built-in profile's name, or a path with a `/` or a `.` in it.
        name: String,
        /// Write the file's text: what a profile of your own may begin with.
        #[arg(long, conflicts_with = "json")]
        toml: bool,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> Outcome {
    let shown = match command {
        Command::List { json } => list(*json),
        Command::Show { name, toml, json } => show(name, *toml, *json),
    };
    match shown {
        Ok(text) => {
            say(text);
            Outcome::Done
        }
        Err(lines) => {
            lines.iter().for_each(complain);
            Outcome::Misused
        }
    }
}

/// What is wrong, by lines.
type Wrong = Vec<String>;

fn list(as_json: bool) -> Result<String, Wrong> {
    let mut listed = Vec::new();
    let mut lines = Vec::new();
    for name in vendor::built_in_names() {
        let text = vendor::built_in(name).unwrap_or_default();
        let profile = read(name, name, text)?;
        let url = profile.base_url.as_ref().map(BaseUrl::as_str);
        lines.push(format!(
            "{name:<13} {:<28} {}",
            profile.title,
            url.unwrap_or("(base_url is the installation's own)")
        ));
        let options: Vec<Value> = vendor::declared(text)
            .into_iter()
            .map(|option| json!({"name": option.name, "default": option.default}))
            .collect();
        listed.push(json!({"name": name, "title": profile.title, "baseUrl": url, "options": options}));
    }
    Ok(if as_json { Value::from(listed).to_string() } else { lines.join("\n") })
}

fn show(name: &str, as_toml: bool, as_json: bool) -> Result<String, Wrong> {
    let text = match vendor::built_in(name) {
        Some(text) => text.to_owned(),
        None if name.contains(['/', '.']) => std::fs::read_to_string(name)
            .map_err(|error| vec![format!("keystile: the profile {name} cannot be read: {error}")])?,
        None => {
            let known = vendor::built_in_names().collect::<Vec<_>>().join(", ");
            return Err(vec![format!(
                "keystile: there is no built-in profile `{name}`; there are {known}. Or name the path of a file, with a `/` \
                 or a `.` in it"
            )]);
        }
    };
    if as_toml {
        return Ok(text.trim_end().to_owned());
    }
    let profile = read(name, name, &text)?;
    let mut sheet = Sheet::default();
    head(&mut sheet, &profile, &vendor::declared(&text));
    session_calls(&mut sheet, &profile);
    for route in &profile.routes {
        sheet.heading(route.call.as_str());
        sheet.route(route);
    }
    Ok(if as_json { sheet.to_json().to_string() } else { sheet.to_text() })
}

/// The profile with its defaults. An option without one stands for itself, as `option.NAME`.
fn read(name: &str, file: &str, text: &str) -> Result<Profile, Wrong> {
    let needed = vendor::declared(text).into_iter().filter(|option| option.default.is_none());
    let values = needed.map(|option| (option.name.clone(), Value::from(format!("option.{}", option.name)))).collect();
    let problems = Problems::default();
    let profile = vendor::read(name, file, text, &Options { values, gateway: GATEWAY.to_owned() }, &problems);
    let problems: Wrong = problems.into_sorted().iter().map(Problem::to_string).collect();
    match profile {
        Some(profile) if problems.is_empty() => Ok(profile),
        _ => Err(problems),
    }
}

fn head(sheet: &mut Sheet, profile: &Profile, options: &[Declared]) {
    sheet.heading(format!("{}, profile {}", profile.title, profile.name));
    sheet.row(
        "base URL",
        [profile.base_url.as_ref().map_or("none: base_url of [vendors.NAME] says it", BaseUrl::as_str)],
    );
    sheet.row("bot ids", [if profile.bot_id == BotId::Number { "numbers" } else { "text" }]);
    sheet.row(
        "options",
        options.iter().map(|option| match &option.default {
            Some(default) => format!("{} = {default}", option.name),
            None => format!("{}: must be given", option.name),
        }),
    );
    let about_key: Vec<String> =
        (400..600).filter(|status| profile.key_answers.has(*status)).map(|status| status.to_string()).collect();
    sheet.row("about the key", (!about_key.is_empty()).then(|| format!("answers {}", about_key.join(", "))));
    let shape = profile.error.as_ref().map(|error| error.json.to_string());
    sheet.row("errors", [shape.as_deref().unwrap_or("problem+json")]);
    if let Some(error) = &profile.error {
        sheet.row("codes", error.codes.iter().map(|(status, code)| format!("{status}: {code}")));
        sheet.row(
            "expired",
            error.expired.iter().map(|expired| format!("{}: {}", expired.status.as_u16(), expired.code)),
        );
    }
}

fn session_calls(sheet: &mut Sheet, profile: &Profile) {
    show_open(sheet, profile.open.as_ref());
    if let Some(accept) = &profile.accept {
        show_accept(sheet, accept);
    }
    if let Some(identify) = &profile.identify {
        sheet.heading("The call that tells the vendor who the contact is");
        sheet.call(&identify.target, &identify.set);
    }
    if let Some(renew) = &profile.renew {
        sheet.heading("The call that renews the vendor's token");
        sheet.call(&renew.target, &renew.set);
        sheet.row("vendor token", [&renew.vendor_token]);
        sheet.row("expires", &renew.expires);
    }
}

/// The session call as the gateway sends it.
pub(super) fn show_open(sheet: &mut Sheet, open: Option<&Open>) {
    let Some(open) = open else {
        return sheet.heading("The vendor has no session call: the gateway makes the session's id");
    };
    sheet.heading("The session call, from the gateway to the vendor");
    sheet.call(&open.target, &open.set);
    let session = match &open.session {
        SessionSource::Text => "the whole answer",
        SessionSource::Pointer(pointer) => pointer,
    };
    sheet.row("session id", [session]);
    sheet.row("vendor token", &open.vendor_token);
    sheet.row("expires", &open.expires);
    let failure = &open.failure;
    let parts = [("succeeded", &failure.when), ("code", &failure.code), ("message", &failure.message)];
    sheet.row("failure", parts.iter().filter_map(|(part, pointer)| Some(format!("{part} {}", pointer.as_ref()?))));
}

/// The session call as the vendor's own clients send it.
pub(super) fn show_accept(sheet: &mut Sheet, accept: &Accept) {
    sheet.heading("The session call, from the vendor's own clients to the gateway");
    sheet.row("call", [accept.call.as_str()]);
    sheet.row("credential", [&accept.credential]);
    sheet.row("bot", &accept.bot);
    let fields = &accept.fields;
    let named =
        [("ttl", &fields.ttl), ("contact", &fields.contact), ("messages", &fields.messages), ("visit", &fields.visit)];
    let members: Vec<(String, &Vec<Place>)> = match &fields.meta {
        Meta::Whole(places) => vec![("meta".to_owned(), places)],
        Meta::Members(members) => members.iter().map(|(member, places)| (format!("meta.{member}"), places)).collect(),
    };
    let named = named.into_iter().map(|(name, places)| (name.to_owned(), places));
    let said = named.chain(members).filter(|(_, places)| !places.is_empty());
    sheet.row("wishes", said.map(|(name, places)| format!("{name}: {}", either(places))));
    let (kind, reply) = match &accept.reply {
        Reply::Text(template) => ("text", written_text(template)),
        Reply::Json(shape) => ("JSON", written(shape)),
    };
    sheet.row("reply", [format!("{} {kind} {}", accept.status.as_u16(), reply.unwrap_or_default())]);
}

fn either(places: &[Place]) -> String {
    places.iter().map(Place::to_string).collect::<Vec<_>>().join(", else ")
}
