//! Much at once.

use futures_util::FutureExt;
use futures_util::future::join_all;
use keystile::store::{Begun, Cap, Counted, Filter, Scope, StoreError};

use super::{DAY, both, known, session, soon};
use crate::support::until;

#[tokio::test]
async fn two_hundred_sessions_opened_at_once_are_all_there() {
    for store in both().await {
        let all = (0..200).map(|number| store.open(session(&number.to_string()), Vec::new()));
        assert!(join_all(all).await.iter().all(Result::is_ok), "{}", store.name);
        let page = store.sessions(Filter::default(), None, 500).await.unwrap();
        assert_eq!(page.records.len(), 200, "{}", store.name);
    }
}

#[tokio::test]
async fn of_two_recognitions_at_once_one_is_a_conflict() {
    for store in both().await {
        for round in 0..20 {
            let id = round.to_string();
            store.open(session(&id), Vec::new()).await.unwrap();
            let recognitions = [1, 2].map(|digest| {
                let known = known(digest, &format!("contact-{digest}"));
                store.recognise(&id, known, false, soon(0))
            });
            let outcomes = join_all(recognitions).await;
            let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
            assert_eq!(won.len(), 1, "{} {outcomes:?}", store.name);
            assert!(outcomes.contains(&Err(StoreError::Conflict)), "{} {outcomes:?}", store.name);
            assert_eq!(store.session(&id).await.unwrap().as_ref(), Some(won[0]), "{}", store.name);
        }
    }
}

#[tokio::test]
async fn a_cap_holds_however_many_are_opened_at_once_and_a_refusal_is_its_own() {
    for store in both().await {
        let opens = (0..60).map(|number| {
            let caps = if number % 2 == 0 { vec![Cap { what: Counted::Address, most: 10 }] } else { Vec::new() };
            let mut record = session(&format!("{number:02}"));
            record.address = Some(if number % 2 == 0 { "capped" } else { "free" }.to_owned());
            store.open(record, caps)
        });
        let outcomes = join_all(opens).await;
        let opened = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(opened, 30 + 10, "{} {outcomes:?}", store.name);
        let page = store.sessions(Filter::default(), None, 100).await.unwrap();
        assert_eq!(page.records.len(), opened, "{}", store.name);
    }
}

#[tokio::test]
async fn a_renewal_beside_a_revocation_is_before_it_or_refused() {
    for store in both().await {
        for round in 0..20 {
            let id = round.to_string();
            store.open(session(&id), Vec::new()).await.unwrap();
            let (renewed, revoked) = tokio::join!(
                store.renew(&id, soon(7_200_000)),
                store.revoke(Scope::Session(id.clone()), soon(0).plus(DAY)),
            );
            assert!(revoked.is_ok() && matches!(renewed, Ok(_) | Err(StoreError::Ended)), "{}", store.name);
            assert_eq!(store.renew(&id, soon(0)).await, Err(StoreError::Ended), "{}", store.name);
        }
    }
}

#[tokio::test]
async fn of_calls_begun_at_once_one_is_made() {
    for store in both().await {
        let begun = join_all((0..20).map(|_| store.begin([1; 32], [2; 32], DAY))).await;
        let count = |wanted: Begun| begun.iter().filter(|begun| **begun == Ok(wanted.clone())).count();
        assert_eq!((count(Begun::New), count(Begun::InFlight)), (1, 19), "{} {begun:?}", store.name);
    }
}

#[tokio::test]
async fn an_operation_that_nobody_waits_for_is_carried_out() {
    for store in both().await {
        // Begun, and then left.
        assert!(store.open(session("left"), Vec::new()).now_or_never().is_none(), "{}", store.name);
        until(store.name, async || store.session("left").await.unwrap()).await;
    }
}
