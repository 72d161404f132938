//! The cases: the harness itself, pairs of programs and roots, saved hosts, the objects of whole systems,
//! programs with privileges, synthetic objects.

mod fixture;
mod image;
mod in_root;
mod pair;
mod part;
mod privilege;
mod profile;
mod sandbox;
mod synthetic;

use crate::harness::{Case, exception, trace};

/// Returns every case.
pub fn all() -> Vec<Case> {
    let mut cases = vec![
        Case::new("harness::the_trace_is_read", &[], |_| trace::check_reader()),
        Case::new("harness::the_exceptions_are_read", &[], |_| exception::check_reader()),
        Case::new("harness::the_directives_are_read", &[], |_| fixture::check_reader()),
    ];
    cases.extend(pair::all());
    cases.extend(profile::all());
    cases.extend(in_root::all());
    cases.extend(part::all());
    cases.extend(privilege::all());
    cases.extend(image::all());
    cases.extend(synthetic::all());
    cases
}
