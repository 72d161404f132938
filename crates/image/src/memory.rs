//! What things take in memory, counted rather than guessed: images are written by others, and a bound
//! that is off by a factor is none.
//!
//! glibc's allocator is the measure: a block has a header of 8 bytes, is a multiple of 16 bytes long and
//! has 32 at the least.

use crate::path::Components;

/// How much longer a list becomes at once: an eighth, so that what it reserves is close to what it holds.
const STEP: usize = 8;
/// A leaf of a `BTreeMap<Box<[u8]>, NodeId>`: room for 11 names and numbers, and three words.
const LEAF: usize = 11 * (size_of::<Box<[u8]>>() + size_of::<u32>()) + 24;
/// How few children the fullest leaves have when names arrive in order (`BTreeMap` splits a full leaf in
/// halves).
const LEAF_FILL: u64 = 5;

/// What a block of `length` bytes takes.
pub(super) fn allocated(length: usize) -> u64 {
    if length == 0 { 0 } else { ((length + 8).next_multiple_of(16) as u64).max(32) }
}

/// What one more child takes in a directory that has `count`, its name aside: its part of a leaf, and of
/// the inner nodes above, of which there is at most one for every five leaves.
pub(super) fn of_child(count: usize) -> u64 {
    let leaf = allocated(LEAF);
    if count == 0 { leaf } else { (leaf + leaf / 2 / LEAF_FILL) / LEAF_FILL }
}

/// What the components of a path take.
pub(super) fn of_components(path: &Components) -> u64 {
    let names: u64 = path.iter().map(|name| allocated(name.len())).sum();
    names + allocated(path.capacity() * size_of::<Box<[u8]>>())
}

/// Makes room for one more in a list, and little more than that.
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
