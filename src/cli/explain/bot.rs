//! What holds for a bot: who may, how long, how much.

use super::super::sheet::Sheet;
use crate::bot::{Bot, ContactNeed, Visibility};
use crate::document::{Rate, format_duration};
use crate::vendor::Route;

/// What kind of call it is about.
#[derive(Clone, Copy)]
pub(super) enum Of<'r> {
    /// A conversation call.
    Route(&'r Route),
    /// A call that opens a session.
    Opening,
    /// A bearer's call about the session itself.
    Held,
}

/// What there is to say of `bot` where a call is of this kind.
pub(super) fn show(sheet: &mut Sheet, bot: &Bot, of: Of<'_>) {
    sheet.heading(format!("Bot {}", bot.name));
    sheet.row("vendor's id", [&bot.vendor_id]);
    sheet.row(
        "visibility",
        [match bot.visibility {
            Visibility::Public => "public: pages of its origins and its owners open sessions",
            Visibility::Private => "private: only its owners open sessions",
        }],
    );
    sheet.row("origins", bot.origins.texts());
    sheet.row("owners", &bot.owners);
    if matches!(of, Of::Opening) {
        sheet.row(
            "contact",
            [match bot.contact {
                ContactNeed::None => "none is taken",
                ContactNeed::Optional => "optional",
                ContactNeed::Required => "required",
            }],
        );
        let (default, max) = (format_duration(bot.ttl.default), format_duration(bot.ttl.max));
        sheet.row("token lives", [format!("{default}, at most {max}")]);
    }
    sheet.row("limits", limits(bot, of));
}

/// A rate as the configuration has it.
pub(super) fn rate(rate: Option<Rate>) -> String {
    rate.map_or_else(|| "off".to_owned(), |rate| rate.to_string())
}

/// The limits that hold for the call, by the names that the configuration has for them.
fn limits(bot: &Bot, of: Of<'_>) -> Vec<String> {
    let limits = &bot.limits;
    let count = |count: Option<u64>, unit: &str| count.map_or_else(|| "off".to_owned(), |n| format!("{n}{unit}"));
    let body = |bytes: u64| format!("body = {bytes} bytes");
    let per_bot = format!("per_bot = {}", rate(limits.per_bot));
    let per_session = format!("per_session = {}", rate(limits.per_session));
    let route = match of {
        Of::Opening => {
            return vec![
                format!("mint_per_ip = {}", rate(limits.mint_per_ip)),
                per_bot,
                format!("sessions_per_ip = {}", count(limits.sessions_per_ip.map(u64::from), "")),
                format!("sessions_per_contact = {}", count(limits.sessions_per_contact.map(u64::from), "")),
                body(limits.body),
            ];
        }
        Of::Held => return vec![per_session, per_bot],
        Of::Route(route) => route,
    };
    let mut lines = vec![per_session, format!("streams = {}", count(limits.streams.map(u64::from), "")), per_bot];
    if let Some(rate) = bot.vendor.keys.rate() {
        lines.push(format!("per_key = {rate}"));
    }
    if route.rewrites_body() {
        lines.push(body(route.body_limit.unwrap_or(limits.body)));
    } else if !route.call.method.is_safe() {
        lines.push(format!("upload = {}", count(limits.upload, " bytes")));
    }
    if route.takes_socket {
        lines.push(format!("message = {} bytes", limits.message));
    }
    lines
}
