//! The rules of the key directory, one test each.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn usage(algorithm: Algorithm) -> Use {
    Use { algorithm, outlives: DAY }
}

fn open(path: &Path, algorithm: Algorithm) -> Result<Keys, KeysError> {
    Keys::open(path, usage(algorithm), NOW, &Entropy::system())
}

fn rotate(path: &Path, now: Timestamp) -> Result<Keys, KeysError> {
    let from = now.plus(Duration::from_secs(600));
    Keys::rotate(path, usage(Algorithm::EdDsa), from, now, &Entropy::system())
}

fn states(keys: &Keys, now: Timestamp) -> Vec<&'static str> {
    keys.infos(now).iter().map(|info| info.state).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("exists").permissions().mode() & 0o777
}

fn failure(path: &Path) -> KeysError {
    open(path, Algorithm::EdDsa).err().expect("refused")
}

fn edited(path: &Path, edit: impl Fn(&str) -> String) -> String {
    let file = path.join("keys.json");
    let text = edit(&fs::read_to_string(&file).expect("reads"));
    fs::write(&file, &text).expect("writes");
    text
}

#[test]
fn the_first_start_makes_keys_for_the_owner_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("certs").join("signing");
    let keys = open(&path, Algorithm::EdDsa).expect("opens");
    assert_eq!((mode(&path), mode(&path.join("keys.json"))), (0o700, 0o600));
    let states: Vec<(&str, &str)> = keys.infos(NOW).iter().map(|info| (info.algorithm, info.state)).collect();
    assert_eq!(states, [("EdDSA", "signing"), (SEAL, "sealing")]);
    let names: Vec<_> = fs::read_dir(&path).expect("lists").map(|entry| entry.expect("entry").file_name()).collect();
    assert_eq!(names.len(), 2, "nothing but keys and lock: {names:?}");
}

#[test]
fn the_next_start_has_the_same_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    for algorithm in Algorithm::ALL {
        let first = open(directory.path(), algorithm).expect("opens");
        assert_eq!(first.infos(NOW), open(directory.path(), algorithm).expect("opens").infos(NOW));
    }
}

#[test]
fn a_new_algorithm_adds_a_signer_and_older_keys_go_on_verifying() {
    let directory = tempfile::tempdir().expect("a directory");
    let before = open(directory.path(), Algorithm::EdDsa).expect("opens");
    let after = open(directory.path(), Algorithm::Es256).expect("opens");
    assert_eq!(after.signer(NOW).algorithm(), Algorithm::Es256);
    assert!(after.signing_key(before.signer(NOW).kid(), NOW).is_some());
    assert_eq!(after.pseudonym("x", &["y"]), before.pseudonym("x", &["y"]));
    let back = open(directory.path(), Algorithm::EdDsa).expect("opens");
    assert_eq!(back.signer(NOW).kid(), before.signer(NOW).kid());
    assert_eq!(back.infos(NOW).len(), 3);
}

#[test]
fn two_processes_starting_at_once_use_the_same_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("signing");
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256] {
        let infos: Vec<Vec<KeyInfo>> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..16).map(|_| scope.spawn(|| open(&path, algorithm).expect("opens").infos(NOW))).collect();
            starts.into_iter().map(|start| start.join().expect("ends")).collect()
        });
        assert!(infos.windows(2).all(|pair| pair[0] == pair[1]), "{infos:?}");
    }
}

#[test]
fn the_winner_of_a_race_without_a_lock_is_loaded_by_the_loser() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut winner = None;
    let records = Directory::at(directory.path())
        .update(&Entropy::system(), |present| {
            // Another machine's process, whose lock is not ours, is done first.
            let elsewhere = tempfile::tempdir().expect("a directory");
            winner = Some(open(elsewhere.path(), Algorithm::EdDsa).expect("opens").infos(NOW));
            fs::copy(elsewhere.path().join("keys.json"), directory.path().join("keys.json")).expect("copies");
            complete(
                &Directory::at(directory.path()),
                present,
                Algorithm::EdDsa,
                Timestamp::from_seconds(0),
                &Entropy::system(),
            )
        })
        .expect("loads");
    let loaded = Keys::parse(&Directory::at(directory.path()), &records, usage(Algorithm::EdDsa)).expect("parses");
    assert_eq!(Some(loaded.infos(NOW)), winner);
}

#[test]
fn a_readable_key_file_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    open(directory.path(), Algorithm::EdDsa).expect("opens");
    let file = directory.path().join("keys.json");
    for exposed in [0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&file, fs::Permissions::from_mode(exposed)).expect("changes");
        let message = failure(directory.path()).to_string();
        assert!(message.contains(&format!("chmod 600 {}", file.display())), "{message}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("changes");
    assert!(open(directory.path(), Algorithm::EdDsa).is_ok());
}

#[test]
fn a_directory_in_the_key_files_place_is_told_as_such() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("keys.json")).expect("makes it");
    let message = failure(directory.path()).to_string();
    assert!(message.contains("it is a directory") && !message.contains("chmod"), "{message}");
}

#[test]
fn a_broken_key_file_is_an_error_and_stays_as_it_is() {
    let breaks: [fn(&str) -> String; 7] = [
        |_| String::new(),
        |text| text[..text.len() / 2].to_owned(),
        |text| text.replace("\"seal\"", "\"sig\""),
        |text| text.replace("\"subject\"", "\"seal\""),
        |text| text.replace("EdDSA", "ES256"),
        |text| text.replace("\"private\": \"", "\"private\": \"AAAA"),
        |_| "{\"keys\": []}".to_owned(),
    ];
    for (index, edit) in breaks.into_iter().enumerate() {
        let directory = tempfile::tempdir().expect("a directory");
        open(directory.path(), Algorithm::EdDsa).expect("opens");
        let broken = edited(directory.path(), edit);
        let error = failure(directory.path());
        assert!(matches!(error, KeysError::Broken { .. }), "{index}: {error}");
        assert_eq!(fs::read_to_string(directory.path().join("keys.json")).expect("reads"), broken, "{index}");
    }
}

#[test]
fn an_error_never_quotes_the_key_file() {
    let directory = tempfile::tempdir().expect("a directory");
    open(directory.path(), Algorithm::EdDsa).expect("opens");
    edited(directory.path(), |text| text.replace("\"private\"", "\"secret-in-a-wrong-place\""));
    assert!(!format!("{:?}", failure(directory.path())).contains("wrong-place"));
}

#[test]
fn a_complete_directory_needs_no_writing() {
    let directory = tempfile::tempdir().expect("a directory");
    open(directory.path(), Algorithm::EdDsa).expect("opens");
    let before = fs::metadata(directory.path()).expect("exists").modified().expect("a time");
    open(directory.path(), Algorithm::EdDsa).expect("opens");
    assert_eq!(fs::metadata(directory.path()).expect("exists").modified().expect("a time"), before);
}

#[test]
fn rotated_keys_are_published_before_they_sign_and_kept_until_their_last_token_has_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = open(directory.path(), Algorithm::EdDsa).expect("opens");
    let old = first.signer(NOW).kid().to_owned();
    let keys = rotate(directory.path(), NOW).expect("rotates");
    let (before, from) = (NOW.plus(Duration::from_secs(599)), NOW.plus(Duration::from_secs(600)));
    let dead = from.plus(DAY).plus(Duration::from_millis(1));

    assert_eq!(states(&keys, before), ["signing", "next", "next", "sealing"]);
    assert_eq!(keys.signer(before).kid(), old);
    assert_eq!(keys.jwks(before).matches("\"kid\"").count(), 2, "published before it signs");
    assert_eq!(states(&keys, from), ["verifying", "signing", "sealing", "opening"]);
    assert_ne!(keys.signer(from).kid(), old);
    let last = from.plus(DAY);
    assert!(keys.signing_key(&old, last).is_some() && keys.openers(last).count() == 2);
    let header = keys.signing_key(&old, last).expect("the old key").0.header();
    assert!(keys.signing_key_of(header, last).is_some_and(|(key, _)| key.kid() == old));
    assert!(keys.jwks(last).contains(&old));
    assert_eq!(states(&keys, dead), ["dead", "signing", "sealing", "dead"]);
    assert!(!keys.jwks(dead).contains(&old));
    // A file may keep it, or bring it back out of a copy.
    assert!(keys.signing_key(&old, dead).is_none() && keys.openers(dead).count() == 1);
    assert!(keys.signing_key_of(header, dead).is_none());
}

#[test]
fn a_rotation_forgets_the_dead_and_waits_for_one_that_is_under_way() {
    let directory = tempfile::tempdir().expect("a directory");
    let old = open(directory.path(), Algorithm::EdDsa).expect("opens").signer(NOW).kid().to_owned();
    rotate(directory.path(), NOW).expect("rotates");
    let pending = rotate(directory.path(), NOW).err().expect("refused");
    assert!(matches!(pending, KeysError::Pending { .. }));
    assert!(pending.to_string().contains(" at 2027-01-15T08:10:00Z already"), "{pending}");

    let second = NOW.plus(Duration::from_secs(3600));
    let keys = rotate(directory.path(), second).expect("rotates");
    assert!(keys.signing_key(&old, second).is_some() && keys.infos(second).len() == 6);
    let third = NOW.plus(DAY * 2);
    let keys = rotate(directory.path(), third).expect("rotates");
    assert!(keys.infos(third).iter().all(|key| key.kid != old));
    // Those of the second rotation are at work; those of the first took over two days ago, and were followed an hour later.
    assert_eq!(states(&keys, third), ["signing", "next", "next", "sealing"]);
    let read = open(directory.path(), Algorithm::EdDsa).expect("opens");
    assert_eq!(read.infos(third), keys.infos(third));
}

#[test]
fn a_directory_that_became_another_gateways_is_not_followed() {
    let (directory, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let keys = open(directory.path(), Algorithm::EdDsa).expect("opens");
    open(other.path(), Algorithm::EdDsa).expect("opens");
    rotate(directory.path(), NOW).expect("rotates");
    let again = keys.read_again(directory.path(), usage(Algorithm::EdDsa)).expect("reads");
    assert!(again.are_those_of(&again) && !again.are_those_of(&keys));
    fs::copy(other.path().join("keys.json"), directory.path().join("keys.json")).expect("copies");
    let error = keys.read_again(directory.path(), usage(Algorithm::EdDsa)).err().expect("refused");
    assert!(error.to_string().contains("subject"), "{error}");
}
