//! `keystile explain`
//!
//! The call is looked for in the table in which the gateway looks for it. Nothing is sent, and no vendor's key is read
//! out: what a call carries stands there as a placeholder, and a key that stood anywhere else would be masked.

mod bot;
mod own;

use std::sync::Arc;

use clap::Args;
use http::{Method, Uri};
use serde_json::json;

use self::bot::Of;
use super::sheet::Sheet;
use super::{ConfigFile, Outcome, complain, misconfigured, profile, say};
use crate::bot::{Bot, Directory, Vendor};
use crate::config;
use crate::fault::{Code, Fault};
use crate::gateway::{Endpoint, Missing, Place, Routes};
use crate::proxy::masked;
use crate::telemetry::metrics::Metrics;
use crate::vendor::Profile;

/// Why a call of an unknown bot is refused.
const NO_BOT: &str = "there is no such bot";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The method, such as POST.
    method: String,
    /// The URL, or its path alone: then the host is that of `public_url`. A query changes nothing.
    url: String,
    /// Write JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let asked = match Asked::read(&arguments.method, &arguments.url) {
        Ok(asked) => asked,
        Err(message) => {
            complain(format!("keystile: {message}"));
            return Outcome::Misused;
        }
    };
    let settings = match config::load(&arguments.file.config) {
        Ok(settings) => settings,
        Err(error) => return misconfigured(&error, &arguments.file, arguments.json),
    };
    let own = settings.gateway.public_url.parse().ok().and_then(|url| host_of(&url)).unwrap_or_default();
    // Which key is which matters to tokens only.
    let directory = Directory::new(settings.bots, None, |_key| [0; 32]);
    let routes = Routes::new(&directory, &settings.gateway.api, false, &Metrics::new(1));
    let host = asked.host.as_ref().unwrap_or(&own);
    let (sheet, outcome) = match routes.find(host, &asked.method, &asked.path) {
        Ok(place) => {
            let mut sheet = Sheet::default();
            let is_served = found(&mut sheet, &directory, &place, &asked.path);
            (sheet, if is_served { Outcome::Done } else { Outcome::Failed })
        }
        Err(missing) => (nothing(&missing, &asked, host), Outcome::Failed),
    };
    let text = if arguments.json {
        json!({"found": outcome == Outcome::Done, "parts": sheet.to_json()}).to_string()
    } else {
        sheet.to_text()
    };
    let keys = directory.vendors().flat_map(|(vendor, _)| vendor.keys.secrets());
    say(String::from_utf8_lossy(&masked(keys, text.as_bytes())));
    outcome
}

/// The call that is asked about.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    method: Method,
    host: Option<String>,
    path: String,
}

impl Asked {
    fn read(method: &str, url: &str) -> Result<Self, &'static str> {
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .ok()
            .filter(|method| *method != Method::CONNECT)
            .ok_or("the method must be one such as GET or POST")?;
        let url = url
            .parse::<Uri>()
            .ok()
            .filter(|uri| match uri.scheme_str() {
                Some("http" | "https") => !uri.authority().is_some_and(|authority| authority.as_str().contains('@')),
                Some(_) => false,
                None => uri.path().starts_with('/'),
            })
            .ok_or("the URL must be a path that begins with `/`, or http:// or https:// with a host and a path")?;
        Ok(Self { method, host: host_of(&url), path: url.path().to_owned() })
    }
}

/// The host of a URL as a `Host` header is read: no brackets, no dot at its end.
fn host_of(url: &Uri) -> Option<String> {
    let host = url.host()?.trim_matches(['[', ']']);
    Some(host.strip_suffix('.').unwrap_or(host).to_owned())
}

/// Why there is no such call.
fn nothing(missing: &Missing<'_>, asked: &Asked, host: &str) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.heading(format!("{} {} on {host}", asked.method, asked.path));
    let _never_served = refusal(&mut sheet, &missing.fault);
    errors(&mut sheet, missing.vendor.map(|vendor| vendor.profile.as_ref()));
    if asked.method == Method::OPTIONS {
        sheet.row("note", ["a browser's preflight is answered by the gateway itself, for each path that it has"]);
    }
    sheet
}

/// How the gateway refuses it, and that it does.
fn refusal(sheet: &mut Sheet, fault: &Fault) -> bool {
    let code = fault.code();
    let (label, detail) = match code {
        Code::MethodNotAllowed => ("allow", fault.detail()),
        _ => ("because", fault.detail()),
    };
    sheet.row("answer", [format!("{} {}", code.status().as_u16(), code.name())]);
    sheet.row(label, [detail]);
    false
}

/// What errors look like on the paths of a vendor, or on the gateway's own.
fn errors(sheet: &mut Sheet, profile: Option<&Profile>) {
    let shape = profile.and_then(|profile| profile.error.as_ref()).map(|error| error.json.to_string());
    sheet.row("errors", [shape.as_deref().unwrap_or("problem+json")]);
}

/// Tells of a call that there is. Whether there is a bot for it.
fn found(sheet: &mut Sheet, directory: &Directory, place: &Place<'_>, path: &str) -> bool {
    let values: Vec<&str> = place.captures.of(path).collect();
    sheet.heading(&place.entry.label);
    match &place.entry.endpoint {
        Endpoint::Route(vendor, number) => {
            let route = vendor.profile.routes.get(*number);
            let goes = if route.is_some_and(|route| route.renews) {
                "the gateway answers it"
            } else {
                "it goes to the vendor"
            };
            sheet.row("is", [format!("a conversation call: {goes}")]);
            let named = route.and_then(|route| route.call.bot_in(&values));
            of_vendor(sheet, vendor);
            errors(sheet, Some(vendor.profile.as_ref()));
            let concerned = concerned(directory, vendor, named);
            for (profile, bots) in &concerned {
                let Some(route) = profile.routes.get(*number) else { continue };
                sheet.heading(whose(bots));
                sheet.route(route);
                bots.iter().for_each(|bot| bot::show(sheet, bot, Of::Route(route)));
            }
            !concerned.is_empty() || refusal(sheet, &Fault::new(Code::UnknownBot, NO_BOT))
        }
        Endpoint::SessionCall(vendor) => {
            sheet.row("is", ["the session call of the vendor's own clients: it opens a session"]);
            let named = vendor.profile.accept.as_ref().and_then(|accept| accept.call.bot_in(&values));
            of_vendor(sheet, vendor);
            errors(sheet, Some(vendor.profile.as_ref()));
            let concerned = concerned(directory, vendor, named);
            for (profile, bots) in &concerned {
                opening(sheet, profile, bots);
                if let Some(accept) = &profile.accept {
                    profile::show_accept(sheet, accept);
                }
                bots.iter().for_each(|bot| bot::show(sheet, bot, Of::Opening));
            }
            !concerned.is_empty() || refusal(sheet, &Fault::new(Code::UnknownBot, NO_BOT))
        }
        Endpoint::Own(own) => own::show(sheet, directory, *own, &values),
        Endpoint::Page => {
            sheet.row("is", ["the demo's page"]);
            true
        }
    }
}

/// The bots that a call of `vendor` can be about, by the profiles that they have: those with options of their own have
/// one of their own.
fn concerned<'d>(
    directory: &'d Directory,
    vendor: &'d Vendor,
    named: Option<&str>,
) -> Vec<(&'d Profile, Vec<&'d Arc<Bot>>)> {
    let mut bots: Vec<&Arc<Bot>> = match named {
        Some(name) => directory.bot_of(vendor, name).into_iter().collect(),
        None => directory.bots_of(vendor).collect(),
    };
    bots.sort_by_key(|bot| bot.number);
    let mut groups: Vec<(&Profile, Vec<&Arc<Bot>>)> = Vec::new();
    for bot in bots {
        match groups.iter_mut().find(|(profile, _)| std::ptr::eq(*profile, bot.profile.as_ref())) {
            Some((_, group)) => group.push(bot),
            None => groups.push((bot.profile.as_ref(), vec![bot])),
        }
    }
    groups
}

fn whose(bots: &[&Arc<Bot>]) -> String {
    let names: Vec<&str> = bots.iter().map(|bot| bot.name.as_str()).collect();
    format!("What becomes of it, for {} {}", if names.len() == 1 { "bot" } else { "bots" }, names.join(", "))
}

fn of_vendor(sheet: &mut Sheet, vendor: &Vendor) {
    sheet.row("vendor", [format!("{}, profile {}", vendor.name, vendor.profile.name)]);
    sheet.row("at", [vendor.upstream.url()]);
}

fn opening(sheet: &mut Sheet, profile: &Profile, bots: &[&Arc<Bot>]) {
    sheet.heading(whose(bots));
    sheet.row("who", ["a client that owns the bot; of a public bot also a page of its origins"]);
    profile::show_open(sheet, profile.open.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str) -> Option<(Option<String>, String)> {
        Asked::read("get", url).ok().map(|asked| (asked.host, asked.path))
    }

    #[test]
    fn a_url_is_a_path_with_a_host_or_without() {
        let of = |host: Option<&str>, path: &str| Some((host.map(str::to_owned), path.to_owned()));
        assert_eq!(asked("/chat?token=x#y"), of(None, "/chat"));
        assert_eq!(asked("/a/../b%2f"), of(None, "/a/../b%2f"));
        assert_eq!(asked("https://chat.example.com./x?y=/z"), of(Some("chat.example.com"), "/x"));
        assert_eq!(asked("HTTP://[::1]:8080"), of(Some("::1"), "/"));
        assert_eq!(asked("https://h?q"), of(Some("h"), "/"));
        for wrong in ["", "chat", "ftp://h/x", "https://", "https:///x", "https://me:secret@h/x", "wss://h/x"] {
            assert_eq!(asked(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_method_is_read_in_any_case() {
        assert_eq!(Asked::read("post", "/x").unwrap().method, Method::POST);
        assert!(Asked::read("a b", "/x").is_err() && Asked::read("CONNECT", "/x").is_err());
    }
}
