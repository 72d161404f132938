//! The memory that values take, counted exactly: images are untrusted, and an estimate that is off by a factor
//! is not a limit.
//!
//! The counts follow glibc's allocator: a block has a header of 8 bytes, its length is a multiple of 16 bytes,
//! and it takes at least 32 bytes.

use crate::path::Components;

/// The divisor by which lists grow: an eighth at a time, so that little capacity stays unused.
const STEP: usize = 8;
/// A leaf of a `BTreeMap<Box<[u8]>, NodeId>`: room for 11 names and numbers, and three words.
const LEAF: usize = 11 * (size_of::<Box<[u8]>>() + size_of::<u32>()) + 24;
/// The number of children in a leaf if names arrive in order (`BTreeMap` splits a full leaf in halves).
const LEAF_FILL: u64 = 5;

/// The memory of a block of `length` bytes.
pub(super) fn allocated(length: usize) -> u64 {
    if length == 0 { 0 } else { ((length + 8).next_multiple_of(16) as u64).max(32) }
}

/// The memory of one more child in a directory that has `count`, without its name: its part of a leaf and of
/// the inner nodes above. There is at most one inner node for every five leaves.
pub(super) fn of_child(count: usize) -> u64 {
    let leaf = allocated(LEAF);
    if count == 0 { leaf } else { (leaf + leaf / 2 / LEAF_FILL) / LEAF_FILL }
}

/// The memory of the components of a path.
pub(super) fn of_components(path: &Components) -> u64 {
    let names: u64 = path.iter().map(|name| allocated(name.len())).sum();
    names + allocated(path.capacity() * size_of::<Box<[u8]>>())
}

/// Reserves room for one more element and little more.
pub(super) fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / STEP).max(64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_the_allocator_makes_them() {
        assert_eq!([0, 1, 24, 25, 40, 41].map(allocated), [0, 32, 32, 48, 48, 64]);
    }

    #[test]
    fn a_list_reserves_an_eighth_at_the_most() {
        let mut list = Vec::new();
        for number in 0..100_000_u32 {
            grow(&mut list);
            list.push(number);
            assert!(list.capacity() <= list.len() + list.len() / STEP + 64);
        }
    }
}
