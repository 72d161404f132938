//! Names of bounded length, and programs that are stored once for all processes that execute them. Users choose the
//! length and number of paths, and must not be able to exhaust the recorder's memory.

use std::collections::HashSet;
use std::sync::Arc;

use crate::mirror::{LONGEST_PATH, path_ends};
use compat_trace::Name;

/// The kept length of each end of a name that is longer than [`LONGEST_PATH`].
const HALF: usize = LONGEST_PATH / 2;

/// A recorded name: either complete, or both of its ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bounded {
    pub name: Name,
    /// The number of omitted bytes.
    pub cut: Option<u64>,
}

impl From<&[u8]> for Bounded {
    /// A complete name has at most [`LONGEST_PATH`] bytes. A shortened name, including its mark, has more, so the two
    /// cannot be confused.
    fn from(path: &[u8]) -> Self {
        let (first, left_out, last) = path_ends(path);
        let (first, last) = match left_out {
            None if path.len() <= LONGEST_PATH => return Self { name: Name::from(path), cut: None },
            None => first.split_at(HALF),
            Some(_) => (first, last),
        };
        let (start, end) = (beginning(first), ending(last));
        let cut = left_out.unwrap_or(0) + (first.len() - start.len() + last.len() - end.len()) as u64;
        Self { name: Name([start, format!("[{cut} bytes cut]").as_bytes(), end].concat()), cut: Some(cut) }
    }
}

/// Returns the first bytes without splitting a character.
fn beginning(bytes: &[u8]) -> &[u8] {
    let mut end = bytes.len().min(HALF);
    while end < bytes.len() && end + 3 > HALF && is_within_character(bytes[end]) {
        end -= 1;
    }
    &bytes[..end]
}

/// Returns the last bytes without splitting a character.
fn ending(bytes: &[u8]) -> &[u8] {
    let mut start = bytes.len().saturating_sub(HALF);
    let most = start + 3;
    while 0 < start && start < most && is_within_character(bytes[start]) {
        start += 1;
    }
    &bytes[start..]
}

/// Whether a byte continues a UTF-8 character.
fn is_within_character(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// The maximum memory for the names of programs, in bytes.
const MOST_BYTES: usize = 32 << 20;

/// The approximate memory of a name in addition to its bytes.
const COST: usize = 128;

/// The programs that are being executed, or were executed by a process with open files.
#[derive(Debug, Default)]
pub(super) struct Programs {
    known: HashSet<Arc<Bounded>>,
    bytes: usize,
    /// The number of new programs since unused ones were last removed.
    new: usize,
}

impl Programs {
    /// Returns the stored program with this name. If the memory limit is reached, only the mark that it is cut remains.
    pub(super) fn keep(&mut self, program: Bounded) -> Arc<Bounded> {
        if let Some(known) = self.known.get(&program) {
            return Arc::clone(known);
        }
        self.new += 1;
        let cost = cost_of(&program);
        // A pass over all programs happens only after a proportional number of new ones.
        if self.bytes + cost > MOST_BYTES && self.new * 4 >= self.known.len() {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.bytes = self.known.iter().map(|known| cost_of(known)).sum();
            self.new = 0;
        }
        if self.bytes + cost > MOST_BYTES {
            let length = program.name.0.len() as u64;
            return Arc::new(Bounded { name: Name::default(), cut: Some(program.cut.unwrap_or(length)) });
        }
        self.bytes += cost;
        let program = Arc::new(program);
        self.known.insert(Arc::clone(&program));
        program
    }
}

fn cost_of(program: &Bounded) -> usize {
    program.name.0.len() + COST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whole_up_to_the_bound() {
        let path = vec![b'a'; LONGEST_PATH];
        assert_eq!(Bounded::from(&path[..]), Bounded { name: Name(path.clone()), cut: None });
        let longer = [&path[..], b"b"].concat();
        let bounded = Bounded::from(&longer[..]);
        assert_eq!(bounded.cut, Some(1));
        assert!(bounded.name.0.len() > LONGEST_PATH, "no complete name has this length");
        assert!(bounded.name.text().ends_with("ab"), "the last byte is kept");
    }

    #[test]
    fn what_the_mirror_left_out_counts_and_characters_stay_whole() {
        let (first, last) = ("/ä".repeat(HALF), "ö/".repeat(HALF));
        let path = [first.as_bytes(), b"\x001000\0", last.as_bytes(), b"/name"].concat();
        let bounded = Bounded::from(&path[..]);
        let text = String::from_utf8(bounded.name.0.clone()).expect("no character is cut");
        let (start, end) = text.split_once("[").expect("a mark");
        let end = end.split_once("]").expect("a mark").1;
        assert!(first.starts_with(start) && format!("{last}/name").ends_with(end));
        let whole = first.len() + 1000 + last.len() + "/name".len();
        assert_eq!(bounded.cut, Some((whole - start.len() - end.len()) as u64));
        assert!(bounded.name.0.len() > LONGEST_PATH && bounded.name.0.len() < LONGEST_PATH + 64);
    }

    #[test]
    fn programs_take_bounded_memory() {
        let mut programs = Programs::default();
        let program = |number: usize| Bounded::from(format!("/{number:0>4000}").as_bytes());
        let first = programs.keep(program(0));
        assert!(Arc::ptr_eq(&first, &programs.keep(program(0))));
        let kept: Vec<_> = (0..20_000).map(|number| programs.keep(program(number))).collect();
        assert!(programs.bytes <= MOST_BYTES);
        let held: usize = kept.iter().map(|program| program.name.0.len()).sum();
        assert!(held <= MOST_BYTES, "{held} bytes");
        assert_eq!(*kept[19_999], Bounded { name: Name::default(), cut: Some(4001) });
        drop(kept);
        let whole = (10_000..20_000).filter(|number| programs.keep(program(*number)).cut.is_none());
        assert!(whole.count() > 5_000, "room is found again");
        assert!(programs.bytes <= MOST_BYTES);
    }
}
