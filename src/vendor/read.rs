//! Reading a profile's file, with every problem kept.

mod accept;
mod error;
mod open;
mod parts;
mod route;
mod set;

use self::accept::accept;
use self::error::error_shape;
use self::open::{identify, open, renew};
use self::route::route;
use super::options::{self, Names, Options};
use super::path;
use super::profile::{BotId, Profile, Route};
use crate::document::{Document, Problems, Table, Value};
use crate::net::BaseUrl;

/// The profiles that come with the gateway.
const BUILT_IN: &[(&str, &str)] = &[
    ("aichatbothub", include_str!("../../config/vendors/aichatbothub.toml")),
    ("chatbotkit", include_str!("../../config/vendors/chatbotkit.toml")),
    ("directline", include_str!("../../config/vendors/directline.toml")),
    ("genesys", include_str!("../../config/vendors/genesys.toml")),
    ("hottask", include_str!("../../config/vendors/hottask.toml")),
    ("openai", include_str!("../../config/vendors/openai.toml")),
    ("superseek", include_str!("../../config/vendors/superseek.toml")),
];

/// The text of a built-in profile.
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of the built-in profiles.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// Reads a profile from the text of `file`, with the given options in place of their defaults. What is wrong with it is
/// noted; then nothing comes back.
pub fn read(name: &str, file: &str, text: &str, given: &Options, problems: &Problems) -> Option<Profile> {
    let document = Document::parse(file, text, problems)?;
    let root = document.root(problems);
    let title = root.required("title", "the vendor's name, for people").and_then(|value| value.text());
    let base_url = root.get("base_url").map(|value| base_url(&value));
    let bot_id = root.get("bot_id").map_or(Some(BotId::Text), |value| bot_id(&value));
    let options = options(root.section("options").named(), given);
    let names = Names { segments: &[], options: Some(&options) };
    let open = root.get("open").map(|value| open(&value, &names));
    let accepting = root.get("accept");
    let accept = accepting.as_ref().map(|value| accept(value, &names));
    let identify = root.get("identify").map(|value| identify(&value, &names));
    let renew = root.get("renew").map(|value| renew(&value, &names));
    let error = root.get("error").map(|value| error_shape(&value));
    let items = root.get("route").and_then(|value| value.items()).unwrap_or_default();
    let identifying = identify.as_ref().and_then(Option::as_ref).map(|identify| &identify.target);
    let credential = accept.as_ref().and_then(Option::as_ref).map(|accept| &accept.credential);
    let routes: Vec<_> = items.iter().map(|item| route(item, identifying, credential, &names)).collect();
    check_calls(accepting.as_ref(), &items);
    let has_token = match &open {
        None => false,
        Some(open) => open.as_ref().is_none_or(|open| open.vendor_token.is_some()),
    };
    for (item, route) in items.iter().zip(&routes) {
        if !has_token && route.as_ref().is_some_and(Route::carries_vendor_token) {
            item.problem("{vendor_token} has no value: write vendor_token in [open], where the vendor's answer has it");
        }
    }
    let (error, key_answers) = turn(error)?.unwrap_or_default();
    Some(Profile {
        name: name.to_owned(),
        title: title?.to_owned(),
        base_url: turn(base_url)?,
        bot_id: bot_id?,
        open: turn(open)?,
        accept: turn(accept)?,
        identify: turn(identify)?,
        renew: turn(renew)?,
        routes: routes.into_iter().collect::<Option<_>>()?,
        error,
        key_answers,
    })
}

/// The options that are declared, each with the value that it is given, its default, or nothing.
fn options(declared: Vec<(&str, Value<'_>)>, given: &Options) -> Options {
    let value = |option: options::Declared| {
        let given = given.values.get(&option.name).cloned().or(option.default);
        (option.name, given.unwrap_or_else(|| "".into()))
    };
    let declared = declared.iter().filter_map(|(name, place)| options::option(name, place));
    Options { values: declared.map(value).collect(), gateway: given.gateway.clone() }
}

/// `Some(None)` was there and wrong; `None` was not there, which is fine.
fn turn<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    section.map_or(Some(None), |read| read.map(Some))
}

/// Where the API is. Whether it may be reached so is for the configuration to say.
pub(crate) fn base_url(value: &Value<'_>) -> Option<BaseUrl> {
    let text = value.text()?;
    BaseUrl::parse(text).map_err(|why| value.problem(why.told(text, "`keys` of [vendors.NAME]"))).ok()
}

/// Notes calls that are there twice: with one method and at one path, whatever their placeholders are called. What else is
/// wrong beside them does not matter here.
fn check_calls(accept: Option<&Value<'_>>, routes: &[Value<'_>]) {
    let mut calls = path::Table::default();
    let accept = accept.map(|value| ("[accept]".to_owned(), value));
    let routes = routes.iter().map(|value| (format!("the route of line {}", value.line()), value));
    for (whose, value) in accept.into_iter().chain(routes) {
        let table = Some(value).filter(|value| value.is_table()).and_then(Value::table);
        let call = table.iter().flat_map(Table::named).find(|(name, _)| *name == "call");
        if let Some((_, call)) = call
            && let Some(pattern) = call.as_text().and_then(|text| path::Pattern::parse(text).ok())
            && let Err(other) = calls.insert(&pattern, whose)
        {
            call.problem(format!("`{}` is also the call of {other}; one of the two goes", pattern.as_str()));
        }
    }
}

fn bot_id(value: &Value<'_>) -> Option<BotId> {
    value.one_of(&[("text", BotId::Text), ("number", BotId::Number)])
}

#[cfg(test)]
mod tests;
