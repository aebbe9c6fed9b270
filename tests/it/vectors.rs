//! The public cases of `tests/vectors`: awkward HTTP/1.1 requests, with what the RFC or another parser says of them.
//!
//! Each is sent twice: as it is, and moved onto a call that exists, with a session token, so that what is not refused
//! goes all the way to a vendor. There the bytes are judged by [`strict`]: whatever comes, the vendor receives requests
//! that have one reading, and no more of them than a server may see in what was sent. What the gateway answers is
//! judged by each collection's own verdicts; where it does otherwise the case is listed with the reason.

mod bench;
mod case;
mod exchange;
mod llhttp;
mod probe;
mod strict;

use std::collections::{BTreeMap, BTreeSet};

use self::bench::{Bench, Tried};
use self::case::{Llhttp, Probe, read};
use self::exchange::End;

#[tokio::test]
async fn whatever_the_program_is_sent_its_vendor_gets_requests_of_one_reading() {
    let (probes, fixtures): (Vec<Probe>, Vec<Llhttp>) = (read(probe::FILE), read(llhttp::FILE));
    let ids = probes.iter().map(|case| &case.id).chain(fixtures.iter().map(|case| &case.id));
    let bench = Bench::of_the_program().await;
    let mut forms = probe::forms(&bench, &probes, 0);
    forms.extend(llhttp::forms(&bench, &fixtures, probes.len()));
    for (id, tried) in ids.zip(bench.run(forms).await) {
        tried.assert_safe(id);
    }
}

impl Tried {
    /// What holds whatever the verdict: see the module.
    fn assert_safe(&self, id: &str) {
        let (calls, answers) = (self.calls.len(), &self.moved.answers);
        let most = strict::tolerant(&self.sent.concat()).requests;
        assert!(calls <= most, "{id}: the vendor saw {calls} requests of {most}");
        // One more, to the first request that is none.
        assert!(answers.len() <= most + 1, "{id}: {} answers to {most} requests", answers.len());
        let whole = self.calls.iter().filter(|call| call.is_complete).count();
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        assert!(served <= whole, "{id}: {served} answers from the vendor, which had {whole} requests");
        for outcome in [&self.plain, &self.moved] {
            for answer in &outcome.answers {
                assert!((200..500).contains(&answer.status), "{id}: {}", answer.head);
                // hyper answers by itself, and bare, what it cannot parse.
                let is_ours = answer.head.contains("\r\nx-request-id: ");
                assert!(is_ours || answer.status >= 400 && answer.body.is_empty(), "{id}: {}", answer.head);
                let is_unread = ["bad_request", "bad_host"].iter().any(|code| answer.body.contains(code));
                assert!(outcome.end == End::Closed || is_ours && !is_unread, "{id}: {}", answer.head);
            }
        }
    }
}

/// Cases that do otherwise than their collection says, and why.
type Excepted = &'static [(&'static str, &'static [&'static str])];

/// Each of `failed` is excepted, and nothing else is.
fn assert_excepted(failed: &BTreeMap<String, String>, lists: &[Excepted]) {
    let listed: Vec<&str> =
        lists.iter().flat_map(|list| list.iter()).flat_map(|(_, ids)| ids.iter().copied()).collect();
    let known: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(known.len(), listed.len(), "a case is excepted twice");
    let new: Vec<String> = failed
        .iter()
        .filter(|(id, _)| !known.contains(id.as_str()))
        .map(|(id, what)| format!("{id}: {what}"))
        .collect();
    let gone: Vec<&&str> = known.iter().filter(|id| !failed.contains_key(**id)).collect();
    assert!(new.is_empty() && gone.is_empty(), "not as listed:\n{}\nhold now: {gone:#?}", new.join("\n"));
}
