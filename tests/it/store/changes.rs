//! The log that replicas read.

use futures_util::future::join_all;
use keystile::store::{Change, ChangeKind, LOG_MARGIN, Scope};

use super::{Kept, ada, both, session, soon};

async fn revoke(store: &Kept, scope: Scope) -> u64 {
    store.revoke(scope, soon(60_000)).await.unwrap().number
}

fn numbers(entries: &[Change]) -> Vec<u64> {
    entries.iter().map(|entry| entry.number).collect()
}

#[tokio::test]
async fn the_log_after_a_number_is_all_that_came_later() {
    for store in both().await {
        let empty = store.changes(0).await.unwrap();
        assert_eq!((empty.entries.len(), empty.last, empty.is_all), (0, 0, true), "{}", store.name);
        let record = session("a");
        store.open(record.clone(), Vec::new()).await.unwrap();
        store.recognise("a", ada(), false, soon(0)).await.unwrap();
        let first = store.changes(0).await.unwrap().last;
        let second = revoke(&store, Scope::Contact("ada".to_owned())).await;
        let third = revoke(&store, Scope::Bot("support".to_owned())).await;
        let fourth = revoke(&store, Scope::Session("unknown".to_owned())).await;

        let log = store.changes(0).await.unwrap();
        assert_eq!(numbers(&log.entries), [first, second, third, fourth], "{}", store.name);
        let kinds: Vec<ChangeKind> = log.entries.iter().map(|entry| entry.kind.clone()).collect();
        let (id, subject, digest) = ("a".to_owned(), ada().subject, ada().digest);
        let recognised = ChangeKind::Recognised { id, digest, subject, ends_earlier: true };
        let (contact, bot) = (ChangeKind::Contact("ada".to_owned()), ChangeKind::Bot("support".to_owned()));
        assert_eq!(kinds, [recognised, contact, bot, ChangeKind::Ended("unknown".to_owned())], "{}", store.name);
        assert_eq!(log.entries[0].until, record.ends.plus(LOG_MARGIN), "{}", store.name);
        assert_eq!((log.last, log.is_all), (fourth, true), "{}", store.name);
        let rest = store.changes(second).await.unwrap();
        assert_eq!(numbers(&rest.entries), [third, fourth], "{}", store.name);
        let none = store.changes(fourth).await.unwrap();
        assert_eq!((none.entries.len(), none.last), (0, fourth), "{}", store.name);
    }
}

#[tokio::test]
async fn a_session_revoked_twice_is_one_change() {
    for store in both().await {
        store.open(session("a"), Vec::new()).await.unwrap();
        let until = soon(60_000);
        let first = store.revoke(Scope::Session("a".to_owned()), until).await.unwrap();
        assert_eq!(store.revoke(Scope::Session("a".to_owned()), until).await, Ok(first), "{}", store.name);
        assert_eq!(store.changes(0).await.unwrap().entries.len(), 1, "{}", store.name);

        let longer = store.revoke(Scope::Session("a".to_owned()), soon(90_000)).await.unwrap();
        assert!(longer.number > first.number && longer.at == first.at, "{}: it is known for longer", store.name);
        assert_eq!(numbers(&store.changes(0).await.unwrap().entries), [longer.number], "{}", store.name);
    }
}

#[tokio::test]
async fn a_contact_revoked_again_leaves_one_entry_that_says_all() {
    for store in both().await {
        let first = store.revoke(Scope::Contact("ada".to_owned()), soon(90_000)).await.unwrap();
        let until = store.changes(0).await.unwrap().entries[0].until;
        let second = store.revoke(Scope::Contact("ada".to_owned()), soon(60_000)).await.unwrap();

        assert!(second.number > first.number && second.at >= first.at, "{}", store.name);
        let log = store.changes(0).await.unwrap();
        assert_eq!(numbers(&log.entries), [second.number], "{}", store.name);
        assert_eq!((log.entries[0].at, log.entries[0].until), (second.at, until), "{}", store.name);
    }
}

#[tokio::test]
async fn more_changes_than_fit_come_in_pieces_without_a_gap() {
    for store in both().await {
        let many = (0..1100).map(|number| revoke(&store, Scope::Session(number.to_string())));
        let mut expected = join_all(many).await;
        expected.sort_unstable();

        let first = store.changes(0).await.unwrap();
        assert_eq!((first.entries.len(), first.is_all), (1000, false), "{}", store.name);
        let second = store.changes(first.last).await.unwrap();
        assert!(second.is_all, "{}", store.name);
        assert_eq!([numbers(&first.entries), numbers(&second.entries)].concat(), expected, "{}", store.name);
    }
}

#[tokio::test]
async fn whoever_subscribed_is_told_the_newest_number() {
    for store in both().await {
        let mut told = store.subscribe();
        let number = revoke(&store, Scope::Bot("support".to_owned())).await;
        told.wait_for(|last| *last >= number).await.unwrap();
        assert_eq!(*told.borrow(), number, "{}", store.name);
    }
}
