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
use super::profile::{BotId, Profile};
use crate::document::{Document, Problems, Value};

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
    let base_url = root.get("base_url").and_then(|value| value.text()).map(str::to_owned);
    let bot_id = root.get("bot_id").map_or(Some(BotId::Text), |value| bot_id(&value));
    let options = options(root.section("options").named(), given);
    let names = Names { segments: &[], options: Some(&options) };
    let open = root.get("open").map(|value| open(&value, &names));
    let accept = root.get("accept").map(|value| accept(&value, &names));
    let identify = root.get("identify").map(|value| identify(&value, &names));
    let renew = root.get("renew").map(|value| renew(&value, &names));
    let error = root.get("error").map(|value| error_shape(&value));
    let items = root.get("route").and_then(|value| value.items()).unwrap_or_default();
    let identifying = identify.as_ref().and_then(Option::as_ref).map(|identify| &identify.target);
    let credential = accept.as_ref().and_then(Option::as_ref).map(|accept| &accept.credential);
    let routes: Vec<_> = items.iter().map(|item| route(item, identifying, credential, &names)).collect();
    let (error, key_answers) = turn(error)?.unwrap_or_default();
    Some(Profile {
        name: name.to_owned(),
        title: title?.to_owned(),
        base_url,
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

fn bot_id(value: &Value<'_>) -> Option<BotId> {
    match value.text()? {
        "text" => Some(BotId::Text),
        "number" => Some(BotId::Number),
        other => {
            value.problem(format!("`{other}` must be \"text\" or \"number\""));
            None
        }
    }
}

#[cfg(test)]
mod tests;
