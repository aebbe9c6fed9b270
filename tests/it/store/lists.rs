//! Pages of sessions.

use keystile::store::{Cursor, Filter, Page, Record};

use super::{Kept, ada, both, session, soon};

/// Opens sessions named `prefix0`, `prefix1`, …: two of each moment.
async fn fill(store: &Kept, prefix: &str, count: i64, begin: i64) {
    let start = soon(begin);
    for number in 0..count {
        let opened = start.plus(std::time::Duration::from_millis(u64::try_from(number / 2).unwrap()));
        let record = Record { opened, ..session(&format!("{prefix}{number}")) };
        store.open(record, Vec::new()).await.unwrap();
    }
}

fn ids(page: &Page) -> Vec<String> {
    page.records.iter().map(|record| record.id.clone()).collect()
}

async fn all(store: &Kept, filter: &Filter, most: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.sessions(filter.clone(), after, most).await.unwrap();
        assert!(page.records.len() <= usize::try_from(most).unwrap());
        found.extend(ids(&page));
        let Some(next) = page.next else { return found };
        after = Cursor::parse(&next.to_string());
        assert!(after.is_some(), "a cursor goes through a client as text");
    }
}

#[tokio::test]
async fn pages_hold_every_session_once_the_newest_first() {
    for store in both().await {
        fill(&store, "s", 9, -60_000).await;
        let expected = ["s8", "s7", "s6", "s5", "s4", "s3", "s2", "s1", "s0"];
        for most in [1, 2, 3, 4, 9, 100] {
            assert_eq!(all(&store, &Filter::default(), most).await, expected, "{} by {most}", store.name);
        }
    }
}

#[tokio::test]
async fn a_page_goes_on_where_the_one_before_ended_while_sessions_are_opened() {
    for store in both().await {
        fill(&store, "s", 6, -60_000).await;
        let first = store.sessions(Filter::default(), None, 3).await.unwrap();
        fill(&store, "new", 5, -1_000).await;
        let second = store.sessions(Filter::default(), first.next.clone(), 3).await.unwrap();

        assert_eq!([ids(&first), ids(&second)].concat(), ["s5", "s4", "s3", "s2", "s1", "s0"], "{}", store.name);
        assert_eq!(second.next, None, "{}", store.name);
    }
}

#[tokio::test]
async fn a_list_is_of_the_bots_the_contact_and_the_time_that_were_asked_for() {
    for store in both().await {
        let times = [soon(-5000), soon(-4000), soon(-3000), soon(-2000)];
        for (number, (bot, opened)) in ["a", "b", "c", "a"].into_iter().zip(times).enumerate() {
            let record = Record { bot: bot.to_owned(), opened, ..session(&number.to_string()) };
            store.open(record, Vec::new()).await.unwrap();
        }
        for id in ["0", "1"] {
            store.recognise(id, ada(), false, soon(0)).await.unwrap();
        }
        let bots = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let subject = |name: &str| Some(name.to_owned());
        let any = Filter::default;
        for (filter, expected) in [
            (Filter { bots: bots(&["a"]), ..any() }, &["3", "0"][..]),
            (Filter { bots: bots(&["a", "b"]), ..any() }, &["3", "1", "0"]),
            (Filter { bots: bots(&[]), ..any() }, &[]),
            (Filter { subject: subject("ada"), ..any() }, &["1", "0"]),
            (Filter { subject: subject("sub-0"), ..any() }, &[]),
            (Filter { subject: subject("ada"), bots: bots(&["a"]), ..any() }, &["0"]),
            (Filter { opened_after: Some(times[1]), ..any() }, &["3", "2", "1"]),
            (Filter { opened_before: Some(times[1]), ..any() }, &["0"]),
            (Filter { opened_after: Some(times[1]), opened_before: Some(times[3]), ..any() }, &["2", "1"]),
        ] {
            for most in [1, 10] {
                assert_eq!(all(&store, &filter, most).await, expected, "{} {filter:?}", store.name);
            }
        }
    }
}
