//! What is revoked stays revoked.

use std::sync::Arc;

use keystile::access::Revoked;
use keystile::clock::Clock;
use keystile::session::Ledger;
use keystile::store::{Record, Scope, StoreError};
use keystile::token::{ContactClaims, LEEWAY};

use crate::support::until;

use super::{DAY, HOUR, Kept, ada, both, now, session, soon};

async fn opened(store: &Kept, id: &str) -> Record {
    let record = session(id);
    store.open(record.clone(), Vec::new()).await.unwrap();
    record
}

#[tokio::test]
async fn a_session_revoked_by_itself_its_contact_or_its_bot_is_not_renewed() {
    for scope in [Scope::Session("a".to_owned()), Scope::Contact("sub-a".to_owned()), Scope::Bot("support".to_owned())]
    {
        for store in both().await {
            let record = opened(&store, "a").await;
            let revoked = store.revoke(scope.clone(), record.ends).await.unwrap();

            assert!(revoked.at >= record.opened && revoked.at <= now(), "{} {revoked:?}", store.name);
            assert_eq!(store.renew("a", soon(5000)).await, Err(StoreError::Ended), "{} {scope:?}", store.name);
            assert_eq!(store.recognise("a", ada(), true, soon(0)).await, Err(StoreError::Ended), "{}", store.name);
            let shown = store.session("a").await.unwrap().unwrap();
            assert_eq!(shown.ended, Some(revoked.at), "{} {scope:?}", store.name);
            let listed = store.sessions(keystile::store::Filter::default(), None, 10).await.unwrap();
            assert_eq!(listed.records, [shown], "{} {scope:?}", store.name);
        }
    }
}

#[tokio::test]
async fn a_session_that_is_ended_again_ended_when_it_first_did() {
    let session = || Scope::Session("a".to_owned());
    for whole in [Scope::Contact("sub-a".to_owned()), Scope::Bot("support".to_owned())] {
        for order in [[whole.clone(), session()], [session(), whole.clone()]] {
            for store in both().await {
                let record = opened(&store, "a").await;
                let mut ends = Vec::new();
                for scope in &order {
                    ends.push(store.revoke(scope.clone(), record.ends).await.unwrap().at);
                    until("another moment", async || (now() > ends[ends.len() - 1]).then_some(())).await;
                }
                assert!(ends[0] < ends[1]);
                let shown = store.session("a").await.unwrap().unwrap();
                assert_eq!(shown.ended, Some(ends[0]), "{} {order:?}", store.name);
            }
        }
    }
}

#[tokio::test]
async fn a_revocation_is_of_what_was_opened_before_and_of_nothing_else() {
    for store in both().await {
        opened(&store, "a").await;
        let other = Record { bot: "sales".to_owned(), subject: "eve".to_owned(), ..session("other") };
        store.open(other, Vec::new()).await.unwrap();
        let bot = store.revoke(Scope::Bot("support".to_owned()), soon(0).plus(DAY)).await.unwrap();
        store.revoke(Scope::Contact("sub-a".to_owned()), soon(0).plus(DAY)).await.unwrap();
        store.revoke(Scope::Session("b".to_owned()), soon(0).plus(DAY)).await.unwrap();
        let later = Record { opened: bot.at.plus(std::time::Duration::from_millis(1)), ..session("later") };
        store.open(later, Vec::new()).await.unwrap();

        assert!(store.renew("other", soon(0)).await.is_ok(), "{}", store.name);
        assert!(store.renew("later", soon(0)).await.is_ok(), "{}", store.name);
        assert_eq!(store.renew("a", soon(0)).await, Err(StoreError::Ended), "{}", store.name);
    }
}

#[tokio::test]
async fn a_session_whose_contact_or_bot_was_revoked_while_it_was_opened_is_not_kept() {
    for scope in [Scope::Contact("sub-a".to_owned()), Scope::Bot("support".to_owned())] {
        for store in both().await {
            let record = session("a");
            store.revoke(scope.clone(), soon(0).plus(DAY)).await.unwrap();

            assert_eq!(store.open(record, Vec::new()).await, Err(StoreError::Ended), "{} {scope:?}", store.name);
            assert_eq!(store.session("a").await, Ok(None), "{} {scope:?}", store.name);
        }
    }
}

#[tokio::test]
async fn a_gateway_whose_clock_is_ahead_opens_no_session_that_escapes() {
    for scope in [Scope::Contact("sub-ahead".to_owned()), Scope::Bot("support".to_owned())] {
        for store in both().await {
            let ahead = Record { opened: soon(30_000), ..session("ahead") };
            store.open(ahead.clone(), Vec::new()).await.unwrap();
            let revoked = store.revoke(scope.clone(), ahead.ends).await.unwrap();

            assert!(revoked.at >= ahead.opened, "{} {scope:?}", store.name);
            assert_eq!(store.renew("ahead", soon(0)).await, Err(StoreError::Ended), "{} {scope:?}", store.name);
        }
    }
}

#[tokio::test]
async fn a_revocation_stays_until_the_last_token_that_it_concerns_is_over() {
    for scope in
        [Scope::Session("ahead".to_owned()), Scope::Contact("sub-ahead".to_owned()), Scope::Bot("support".to_owned())]
    {
        for store in both().await {
            let ahead = Record { opened: soon(30_000), ends: soon(30_000).plus(DAY), ..session("ahead") };
            store.open(ahead.clone(), Vec::new()).await.unwrap();
            let (clock, claims) = (Clock::system(), ContactClaims::Claims);
            let revoked = Arc::new(Revoked::new(Arc::clone(&store.backend), clock.clone()));
            let ledger = Ledger::new(Arc::clone(&store.backend), revoked, clock, claims, HOUR);
            ledger.revoke(scope.clone()).await.unwrap();

            let changes = store.changes(0).await.unwrap();
            assert!(changes.entries[0].until >= ahead.ends.plus(LEEWAY), "{} {scope:?}", store.name);
        }
    }
}

#[tokio::test]
async fn a_contact_revoked_since_the_opening_is_not_recognised() {
    for store in both().await {
        opened(&store, "a").await;
        store.revoke(Scope::Contact("ada".to_owned()), soon(0).plus(DAY)).await.unwrap();
        assert_eq!(store.recognise("a", ada(), false, soon(0)).await, Err(StoreError::Ended), "{}", store.name);
        assert!(store.renew("a", soon(0)).await.is_ok(), "{}: it is still anonymous", store.name);
    }
}

#[tokio::test]
async fn a_sweep_deletes_what_had_its_time_and_nothing_else() {
    for store in super::both_with("retention = \"1h\"\n").await {
        let old = |id: &str| Record {
            opened: soon(-9_000_000),
            expires: soon(-8_000_000),
            ends: soon(-8_000_000),
            ..session(id)
        };
        store.open(old("old"), Vec::new()).await.unwrap();
        store.open(Record { ends: soon(-1000), ..old("kept") }, Vec::new()).await.unwrap();
        opened(&store, "live").await;
        for (id, until) in [("old", -1000), ("live", 60_000)] {
            store.revoke(Scope::Session(id.to_owned()), soon(until)).await.unwrap();
            store.revoke(Scope::Contact(id.to_owned()), soon(until)).await.unwrap();
        }
        let before = store.changes(0).await.unwrap();
        store.sweep().await.unwrap();

        assert_eq!(store.session("old").await, Ok(None), "{}", store.name);
        assert!(store.session("kept").await.unwrap().is_some(), "{}", store.name);
        let listed = store.sessions(keystile::store::Filter::default(), None, 10).await.unwrap();
        assert_eq!(listed.records.len(), 2, "{}", store.name);
        let after = store.changes(0).await.unwrap();
        assert_eq!((after.entries, after.last), (before.entries[2..].to_vec(), before.last), "{}", store.name);
        assert_eq!(store.renew("live", soon(0)).await, Err(StoreError::Ended), "{}", store.name);
    }
}
