//! The gateway's own calls: who may make each, what a vendor hears of it, which limits hold.

use std::collections::BTreeSet;

use super::super::sheet::Sheet;
use super::bot::{self, Of, rate};
use super::{NO_BOT, errors, of_vendor, opening, refusal};
use crate::api::Own;
use crate::bot::{Bot, Directory, Vendor};
use crate::fault::{Code, Fault};
use crate::vendor::{Set, Target};

const CLIENT: &str = "a client that owns the bot";
const BEARER_OR_CLIENT: &str = "the bearer of the session's token, or a client that owns its bot";

/// Tells of the call. Whether there is a bot for it.
pub(super) fn show(sheet: &mut Sheet, directory: &Directory, own: Own, values: &[&str]) -> bool {
    match own {
        Own::Open => return opened(sheet, directory, values),
        Own::Recognise => recognised(sheet, directory),
        Own::Renew => renewed(sheet, directory),
        Own::End => {
            told(sheet, "a session is ended, on all replicas", BEARER_OR_CLIENT);
            clients(sheet, directory);
        }
        Own::Show => {
            told(sheet, "a session is shown, without secrets", BEARER_OR_CLIENT);
            held(sheet, directory);
            clients(sheet, directory);
        }
        Own::EndAll => {
            told(sheet, "all open sessions of a contact, or of a bot, are ended", "");
            sheet.row("who", ["?contact=: a client that vouched for the contact", "?bot=: a client that owns the bot"]);
            clients(sheet, directory);
        }
        Own::List => {
            told(sheet, "sessions are listed, a page at a time", "a client, for the bots that it owns");
            clients(sheet, directory);
        }
        Own::Keys => told(sheet, "it answers by itself, and sends nothing", "everybody"),
    }
    true
}

fn told(sheet: &mut Sheet, what: &str, who: &str) {
    sheet.row("is", [format!("the gateway's own: {what}")]);
    sheet.row("who", Some(who).filter(|who| !who.is_empty()));
}

fn opened(sheet: &mut Sheet, directory: &Directory, values: &[&str]) -> bool {
    told(sheet, "it opens a session of a bot", "");
    let Some(bot) = values.first().and_then(|name| directory.bot(name)) else {
        return refusal(sheet, &Fault::new(Code::UnknownBot, NO_BOT));
    };
    of_vendor(sheet, &bot.vendor);
    errors(sheet, None);
    opening(sheet, &bot.profile, &[bot]);
    bot::show(sheet, bot, Of::Opening);
    true
}

fn recognised(sheet: &mut Sheet, directory: &Directory) {
    told(sheet, "a session's visitor becomes known", &format!("{CLIENT}, with the session's token in the body"));
    vendors(sheet, directory, "What vendor", "is told", |vendor| {
        vendor.profile.identify.as_ref().map(|identify| (&identify.target, &identify.set))
    });
}

fn renewed(sheet: &mut Sheet, directory: &Directory) {
    told(
        sheet,
        "the bearer gets another token; those before live to their own end",
        "the bearer of the session's token",
    );
    vendors(sheet, directory, "How the token of vendor", "may be exchanged for a new one", |vendor| {
        vendor.profile.renew.as_ref().map(|renew| (&renew.target, &renew.set))
    });
    held(sheet, directory);
}

/// What a vendor hears of the call, where it does.
fn vendors<'d>(
    sheet: &mut Sheet,
    directory: &'d Directory,
    before: &str,
    after: &str,
    call: impl Fn(&'d Vendor) -> Option<(&'d Target, &'d Set)>,
) {
    for (vendor, _) in directory.vendors() {
        if let Some((target, set)) = call(vendor) {
            sheet.heading(format!("{before} {} {after}", vendor.name));
            sheet.call(target, set);
        }
    }
}

/// What holds for bearers: their calls about a session count as its conversation calls do.
fn held(sheet: &mut Sheet, directory: &Directory) {
    for bot in sorted(directory) {
        bot::show(sheet, bot, Of::Held);
    }
}

/// What holds for the clients that own bots.
fn clients(sheet: &mut Sheet, directory: &Directory) {
    let owners: BTreeSet<&String> = directory.bots().flat_map(|bot| &bot.owners).collect();
    for client in owners.into_iter().filter_map(|name| directory.client_named(name)) {
        sheet.heading(format!("Client {}", client.name));
        if client.is_browser {
            sheet.row("refused", ["its secret may be in a page (browser = true): it sees and ends no sessions"]);
            continue;
        }
        let owned = sorted(directory).into_iter().filter(|bot| bot.is_owned_by(&client.name));
        sheet.row("owns", owned.map(|bot| &bot.name));
        sheet.row("limits", [format!("per_client = {}", rate(client.per_client))]);
    }
}

fn sorted(directory: &Directory) -> Vec<&Bot> {
    let mut bots: Vec<&Bot> = directory.bots().map(AsRef::as_ref).collect();
    bots.sort_by_key(|bot| bot.number);
    bots
}
