//! One session's life.

use keystile::store::{Cap, Counted, Known, Record, Scope, StoreError};

use super::{DAY, HOUR, ada, both, known, session, soon};

#[tokio::test]
async fn a_session_is_found_as_it_was_opened() {
    for store in both().await {
        let full = Record {
            source: Some("verified".to_owned()),
            contact: Some("{\"name\":\"Zoë \\\"Z\\\"\",\"phone\":null}".to_owned()),
            known: Some(u128::MAX - 7),
            ends_earlier: true,
            ..session("full")
        };
        let bare = Record { origin: None, address: None, ..session("bare") };
        store.open(full.clone(), Vec::new()).await.unwrap();
        store.open(bare.clone(), Vec::new()).await.unwrap();

        assert_eq!(store.session("full").await, Ok(Some(full)), "{}", store.name);
        assert_eq!(store.session("bare").await, Ok(Some(bare)), "{}", store.name);
        assert_eq!(store.session("none").await, Ok(None), "{}", store.name);
    }
}

#[tokio::test]
async fn a_renewed_session_keeps_its_longest_token() {
    for store in both().await {
        let record = session("a");
        store.open(record.clone(), Vec::new()).await.unwrap();
        let later = record.expires.plus(HOUR);

        assert_eq!(store.renew("a", later).await.unwrap().expires, later, "{}", store.name);
        assert_eq!(store.renew("a", record.expires).await.unwrap().expires, later, "{}", store.name);
        assert_eq!(store.session("a").await.unwrap().unwrap(), Record { expires: later, ..record });
        assert_eq!(store.renew("b", later).await, Err(StoreError::Unknown), "{}", store.name);
    }
}

#[tokio::test]
async fn a_session_that_is_over_is_neither_renewed_nor_recognised() {
    for store in both().await {
        let over = Record { expires: soon(-10), ends: soon(-5), ..session("over") };
        store.open(over, Vec::new()).await.unwrap();

        assert_eq!(store.renew("over", soon(1000)).await, Err(StoreError::Ended), "{}", store.name);
        assert_eq!(store.recognise("over", ada(), false, soon(1000)).await, Err(StoreError::Ended), "{}", store.name);
    }
}

#[tokio::test]
async fn a_recognised_session_is_one_contacts_for_good() {
    for store in both().await {
        let record = session("a");
        store.open(record.clone(), Vec::new()).await.unwrap();
        let later = record.expires.plus(HOUR);

        let recognised = store.recognise("a", ada(), true, later).await.unwrap();
        let expected = Record {
            subject: "ada".to_owned(),
            source: Some("asserted".to_owned()),
            contact: ada().contact,
            known: Some(ada().digest),
            expires: later,
            ..record
        };
        assert_eq!(recognised, expected, "{}", store.name);
        assert_eq!(store.recognise("a", known(7, "eve"), false, later).await, Err(StoreError::Conflict));
        assert_eq!(store.recognise("a", ada(), true, expected.opened).await.unwrap().known, expected.known);
        let stricter = store.recognise("a", ada(), false, later).await.unwrap();
        assert!(stricter.ends_earlier && !expected.ends_earlier, "{}", store.name);
        assert!(store.recognise("a", ada(), true, later).await.unwrap().ends_earlier, "it stays so");
        assert_eq!(
            store.changes(0).await.unwrap().entries.len(),
            2,
            "{}: what changed nothing is no change",
            store.name
        );
    }
}

#[tokio::test]
async fn a_contact_without_claims_to_keep_leaves_none_of_an_earlier_one() {
    for store in both().await {
        let record = Record { contact: Some("{\"name\":\"claimed\"}".to_owned()), ..session("a") };
        store.open(record, Vec::new()).await.unwrap();
        let bare = Known { contact: None, ..ada() };
        assert_eq!(store.recognise("a", bare, false, soon(0)).await.unwrap().contact, None, "{}", store.name);
        assert_eq!(store.session("a").await.unwrap().unwrap().contact, None, "{}", store.name);
    }
}

#[tokio::test]
async fn a_cap_counts_live_sessions_of_the_bot() {
    let cap = |what| vec![Cap { what, most: 2 }];
    for store in both().await {
        let of = |id: &str| Record { subject: "ada".to_owned(), ..session(id) };
        store.open(Record { expires: soon(-1), ..of("expired") }, cap(Counted::Address)).await.unwrap();
        store.open(Record { bot: "sales".to_owned(), ..of("elsewhere") }, cap(Counted::Address)).await.unwrap();
        store.open(of("one"), cap(Counted::Address)).await.unwrap();
        store.open(of("two"), cap(Counted::Contact)).await.unwrap();

        let refused = store.open(of("three"), cap(Counted::Address)).await;
        assert_eq!(refused, Err(StoreError::TooMany("address")), "{}", store.name);
        let elsewhere = Record { address: Some("192.0.2.9".to_owned()), ..of("three") };
        let refused = store.open(elsewhere.clone(), cap(Counted::Contact)).await;
        assert_eq!(refused, Err(StoreError::TooMany("contact")), "{}", store.name);
        assert_eq!(store.session("three").await, Ok(None), "{}", store.name);
        store.open(elsewhere, cap(Counted::Address)).await.unwrap();
        let nowhere = Record { address: None, ..session("nowhere") };
        store.open(nowhere, cap(Counted::Address)).await.unwrap();
    }
}

#[tokio::test]
async fn a_revoked_session_is_counted_no_more() {
    for store in both().await {
        let caps = || vec![Cap { what: Counted::Address, most: 1 }];
        for (number, scope) in
            [Scope::Session("0".to_owned()), Scope::Contact("sub-1".to_owned()), Scope::Bot("support".to_owned())]
                .into_iter()
                .enumerate()
        {
            let record = session(&number.to_string());
            store.open(record, caps()).await.unwrap();
            assert!(store.open(session("more"), caps()).await.is_err(), "{}: {scope:?}", store.name);
            store.revoke(scope, soon(0).plus(DAY)).await.unwrap();
        }
        let later = Record { opened: soon(60_000), ..session("later") };
        store.open(later, caps()).await.unwrap();
    }
}

#[tokio::test]
async fn a_recognised_session_is_counted_for_its_contact() {
    for store in both().await {
        let caps = || vec![Cap { what: Counted::Contact, most: 1 }];
        store.open(session("a"), caps()).await.unwrap();
        store.recognise("a", ada(), false, soon(1000)).await.unwrap();

        let second = Record { subject: "ada".to_owned(), ..session("b") };
        assert_eq!(store.open(second, caps()).await, Err(StoreError::TooMany("contact")), "{}", store.name);
        store.open(Record { subject: "sub-a".to_owned(), ..session("c") }, caps()).await.unwrap();
    }
}
