//! Reading `[accept]`: the session call of the vendor's own clients.

use http::StatusCode;

use super::super::options::Names;
use super::super::path::Segment;
use super::super::place::Place;
use super::super::profile::{Accept, Fields, Meta, Reply};
use super::super::template::{Shape, Template, Variable};
use super::parts::{noted, pattern, places};
use super::set::entries;
use crate::document::{Table, Value};

/// Reads `[accept]`.
pub(super) fn accept(value: &Value<'_>, names: &Names<'_>) -> Option<Accept> {
    let table = value.table()?;
    let call = pattern(&table);
    let credential = match table.get("credential") {
        None => Some(Place::Header(http::header::AUTHORIZATION)),
        Some(value) => value.text().and_then(|text| noted(&value, Place::parse(text, names))),
    };
    let bot = match table.get("bot") {
        None => Some(None),
        Some(value) => value.text().and_then(|text| noted(&value, Place::parse(text, names))).map(Some),
    };
    let fields = fields(&table, names);
    let status = match table.get("status") {
        None => Some(StatusCode::OK),
        Some(value) => value
            .integer(200, 299)
            .and_then(|status| u16::try_from(status).ok())
            .and_then(|status| StatusCode::from_u16(status).ok()),
    };
    let reply = reply(&table, names);
    let (call, credential, bot, fields) = (call?, credential?, bot?, fields?);
    if bot.is_some() && call.segments.contains(&Segment::Bot) {
        table.problem("bot", "the path has {bot}; only one of the two can name the bot");
        return None;
    }
    let accept = Accept { call, credential, bot, fields, status: status?, reply: reply? };
    if accept.call.method.is_safe() && accept.reads_body() {
        table.problem("call", "a GET or HEAD has no body in which something could stand");
        return None;
    }
    Some(accept)
}

fn fields(table: &Table<'_>, names: &Names<'_>) -> Option<Fields> {
    let section = table.section("fields");
    let field = |key: &str| section.get(key).map_or_else(|| Some(Vec::new()), |value| places(&value, names));
    let (ttl, contact, messages, visit) = (field("ttl"), field("contact"), field("messages"), field("visit"));
    let meta = match section.get("meta") {
        None => Some(Meta::Whole(Vec::new())),
        Some(value) if value.is_table() => {
            entries(&section, "meta", |name, value| Some((name.to_owned(), places(value, names)?))).map(Meta::Members)
        }
        Some(value) => places(&value, names).map(Meta::Whole),
    };
    Some(Fields { ttl: ttl?, contact: contact?, messages: messages?, meta: meta?, visit: visit? })
}

fn reply(table: &Table<'_>, names: &Names<'_>) -> Option<Reply> {
    let section = table.section("reply");
    let (text, json) = (section.get("text"), section.get("json"));
    match (text, json) {
        (Some(text), None) => text_reply(&text, names).map(Reply::Text),
        (None, Some(json)) => json_reply(&json, names).map(Reply::Json),
        _ => {
            table.problem("reply", "must have either `text` or `json`: the body of the answer");
            None
        }
    }
}

fn text_reply(value: &Value<'_>, names: &Names<'_>) -> Option<Template> {
    let template = noted(value, Template::parse(value.text()?, names))?;
    tells_no_secret(value, template.variables()).then_some(template)
}

fn json_reply(value: &Value<'_>, names: &Names<'_>) -> Option<Shape> {
    let shape = noted(value, Shape::parse(&value.json()?, names))?;
    tells_no_secret(value, shape.variables()).then_some(shape)
}

fn tells_no_secret<'v>(value: &Value<'_>, variables: impl IntoIterator<Item = &'v Variable>) -> bool {
    let variables: Vec<&Variable> = variables.into_iter().collect();
    if variables.iter().any(|variable| matches!(variable, Variable::Key | Variable::VendorToken)) {
        value.problem("a key or a vendor's token has no place in an answer");
    } else if variables.iter().any(|variable| matches!(variable, Variable::Query(_))) {
        value.problem("{query.NAME} is for the answers of conversation calls; this is where a session is opened");
    } else {
        return true;
    }
    false
}
