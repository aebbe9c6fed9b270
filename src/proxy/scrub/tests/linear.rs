//! The time is linear, whatever a vendor picks: shown by counting steps.

use super::*;

/// What the search does for one byte, at most, however long the token is.
const A_BYTE: usize = 32;

/// Tokens that match themselves in many places, each with the answer that makes most of it.
fn hostile(length: usize) -> Vec<(String, String)> {
    let period = |unit: &str| unit.repeat(length / unit.len() + 1)[..length].to_owned();
    let many = 12 * length;
    vec![
        (period("a"), "a".repeat(many)),
        (period("a") + "b", "a".repeat(many)),
        (period("a") + "b", period("a").repeat(12) + "%"),
        (period("a") + "b", "%61".repeat(many)),
        (period("a") + "b", "a%61a\\u0061".repeat(many / 4)),
        (period("a") + "b", format!("{}\\u007", period("a")).repeat(12)),
        (period("ab"), "ab".repeat(many / 2) + "\\"),
        // Each escape of `s` may be the beginning, behind its first byte.
        (format!("73{}", period("s")), "%73".repeat(many)),
        (format!("73{}t", period("s")), "%73".repeat(many)),
        (format!("u0073{}t", period("s")), "\\u0073".repeat(many)),
        (period("73s"), "%73s73s".repeat(many / 3)),
        (period("%"), "%".repeat(many)),
        (period("%25"), "%25".repeat(many)),
        (period("\\"), "\\".repeat(many)),
        (period("%z"), period("%z").repeat(12)),
        // A run that is searched in many batches.
        ("no-match-0123456789".to_owned(), "a\\/b".repeat(many)),
    ]
}

fn steps(token: &str, body: &str, size: usize) -> usize {
    let needles = Arc::new(Needles::with(&needles(&[KEY]), &Secret::new(token)));
    let mut length = 0;
    let steps = steps::of(|| {
        let mut scrubber = Scrubber::new(needles);
        for chunk in body.as_bytes().chunks(size) {
            length += scrubber.push(Bytes::copy_from_slice(chunk)).len();
            // Hex is the longest form, and six bytes the longest escape.
            assert!(scrubber.live.len() <= 6 * 2 * token.len());
            assert!(scrubber.search.escapes.remembered() <= 4 * token.len() + 2 * escapes::BATCH);
        }
        length += scrubber.finish().len();
    });
    assert_eq!(length, body.len());
    steps
}

#[test]
fn a_vendor_that_picks_token_and_answer_makes_no_more_work_than_bytes() {
    for length in [100, 1000] {
        for (number, (token, body)) in hostile(length).into_iter().enumerate() {
            for size in [1, 2, 7, 100, body.len()] {
                let steps = steps(&token, &body, size);
                assert!(
                    steps <= A_BYTE * body.len(),
                    "{number}: {steps} steps for {} bytes in chunks of {size}, token of {length}",
                    body.len()
                );
            }
        }
    }
}
