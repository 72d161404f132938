//! Changes of the share are seen within the promised time of each mode, whoever makes them.

use crate::harness::case::{Case, case};
use crate::harness::served::Served;

/// The cases.
pub fn cases() -> Vec<Case> {
    let tools = &["unshare", "python3"];
    let user_tools = &["unshare", "python3", "setpriv"];
    vec![
        case("coherence::session_sees_the_share_as_it_was_at_first", tools, |d| {
            outside(&Served::start(d), SESSION, "never")
        }),
        case("coherence::session_sees_changes_through_the_mirror_at_once", tools, |d| {
            mirror(&Served::start(d), SESSION)
        }),
        case("coherence::close_to_open_sees_changes_after_the_revalidation_time", tools, |d| {
            outside(&Served::start(d), CLOSE_TO_OPEN, "0.5")
        }),
        case("coherence::close_to_open_sees_changes_through_the_mirror_at_once", tools, |d| {
            mirror(&Served::start(d), CLOSE_TO_OPEN)
        }),
        case("coherence::strict_sees_changes_at_once", tools, |d| outside(&Served::start(d), STRICT, "0")),
        case("coherence::strict_sees_changes_through_the_mirror_at_once", tools, |d| {
            mirror(&Served::start(d), STRICT)
        }),
        case("coherence::an_ordinary_user_sees_no_changes_in_a_session", user_tools, |d| {
            outside(&Served::for_user(d), SESSION, "never")
        }),
        case("coherence::an_ordinary_user_sees_changes_after_the_revalidation_time", user_tools, |d| {
            outside(&Served::for_user(d), CLOSE_TO_OPEN, "0.5")
        }),
        case("coherence::an_ordinary_user_sees_its_own_changes_at_once", user_tools, |d| {
            mirror(&Served::for_user(d), CLOSE_TO_OPEN)
        }),
        case("coherence::an_ordinary_user_sees_changes_at_once_with_strict", user_tools, |d| {
            outside(&Served::for_user(d), STRICT, "0")
        }),
    ]
}

const SESSION: &[&str] = &["--coherence", "session"];
const CLOSE_TO_OPEN: &[&str] = &["--coherence", "close-to-open", "--revalidate", "500ms"];
const STRICT: &[&str] = &["--coherence", "strict"];

/// The changes are made in the source of the share, as by another node.
fn outside(served: &Served, options: &[&str], promise: &str) {
    changes(served, options, &["outside", promise]);
}

/// The changes are made by another process on the share.
fn mirror(served: &Served, options: &[&str]) {
    changes(served, options, &["mirror", "0"]);
}

fn changes(served: &Served, options: &[&str], arguments: &[&str]) {
    let said = served.python(options, include_str!("../fixtures/coherence.py"), arguments);
    assert_eq!(said.out, "done\n", "{}", said.error);
}
