//! Paths of bounded length. Directories may be nested 16,384 deep with names of 255 bytes, which makes paths
//! of megabytes. Events contain both ends of such a path. Between them are a zero byte, the number of bytes
//! left out, and another zero byte. A zero byte never occurs in a path.

use std::collections::VecDeque;

/// The maximum depth of nested directories. The threads' stacks are large enough for it.
pub(super) const DEEPEST: usize = 16_384;

/// The maximum length in bytes of a path that is kept whole. Programs pass at most 4,096 bytes at once
/// (`PATH_MAX`).
pub const LONGEST: usize = 64 << 10;

/// The minimum length in bytes of each end of a longer path.
const HALF: usize = LONGEST / 2;

/// Returns the ends of a path and the number of bytes left out between them. For a whole path, the first end
/// is the path and the number is `None`.
pub fn ends(path: &[u8]) -> (&[u8], Option<u64>, &[u8]) {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
    let mut parts = path.splitn(3, |byte| *byte == 0);
    match (parts.next(), parts.next().and_then(number), parts.next()) {
        (Some(first), Some(left_out), Some(last)) => (first, Some(left_out), last),
        _ => (path, None, b""),
    }
}

/// A path that is assembled from its last name to its first, because nodes know their parents.
#[derive(Debug, Default)]
pub(super) struct Upward {
    last: Vec<Box<[u8]>>,
    last_bytes: usize,
    /// The names nearest to the root, the deepest first.
    first: VecDeque<Box<[u8]>>,
    first_bytes: usize,
    left_out: u64,
    names: usize,
    /// Whether the root was not reached.
    endless: bool,
}

impl Upward {
    /// Adds a name before the others. Returns whether more names may follow: directories that others move
    /// outside the mirror may seem to contain each other.
    pub(super) fn add(&mut self, name: Box<[u8]>) -> bool {
        self.names += 1;
        let bytes = name.len() + 1;
        if self.last_bytes < HALF {
            self.last_bytes += bytes;
            self.last.push(name);
        } else {
            self.first_bytes += bytes;
            self.first.push_back(name);
        }
        while let Some(deepest) = self.first.front().map(|name| name.len() + 1)
            && self.first_bytes - deepest >= HALF
        {
            self.first_bytes -= deepest;
            self.left_out += deepest as u64;
            self.first.pop_front();
        }
        self.endless = self.names > DEEPEST;
        !self.endless
    }

    /// Returns the path, which begins with `/`.
    pub(super) fn path(mut self) -> Vec<u8> {
        if self.endless {
            self.left_out += self.first_bytes as u64;
            self.first.clear();
        }
        let mut path = Vec::with_capacity(64);
        let add = |path: &mut Vec<u8>, name: &[u8]| {
            path.push(b'/');
            path.extend_from_slice(name);
        };
        self.first.iter().rev().for_each(|name| add(&mut path, name));
        if self.left_out > 0 || self.endless {
            path.extend_from_slice(format!("\0{}\0", self.left_out).as_bytes());
        }
        self.last.iter().rev().for_each(|name| add(&mut path, name));
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the path of names that are given from the root on.
    fn path(names: &[Vec<u8>]) -> Vec<u8> {
        let mut upward = Upward::default();
        for name in names.iter().rev() {
            if !upward.add(name.clone().into()) {
                break;
            }
        }
        upward.path()
    }

    fn whole(names: &[Vec<u8>]) -> Vec<u8> {
        names.iter().flat_map(|name| [b"/", &name[..]].concat()).collect()
    }

    #[test]
    fn a_path_beyond_what_programs_can_name_is_whole() {
        assert_eq!(path(&[]), b"/");
        assert_eq!(path(&[b"a".to_vec(), b"b".to_vec()]), b"/a/b");
        let names: Vec<Vec<u8>> = (0..254).map(|number| format!("{number:0>255}").into_bytes()).collect();
        assert_eq!(
            (path(&names), ends(&path(&names))),
            (whole(&names), (&whole(&names)[..], None, &b""[..]))
        );
    }

    #[test]
    fn of_a_path_of_megabytes_the_ends_are_kept() {
        let names: Vec<Vec<u8>> = (0..DEEPEST).map(|number| format!("{number:0>255}").into_bytes()).collect();
        let (cut, whole) = (path(&names), whole(&names));
        assert!(cut.len() < LONGEST + 1024, "{} bytes", cut.len());
        let (first, left_out, last) = ends(&cut);
        assert!(first.len() >= HALF && last.len() >= HALF);
        assert!(whole.starts_with(first) && whole.ends_with(last));
        assert_eq!(left_out, Some((whole.len() - first.len() - last.len()) as u64));
    }

    #[test]
    fn a_path_without_an_end_begins_with_what_is_left_out() {
        let names = vec![b"a".to_vec(); DEEPEST + 9];
        let cut = path(&names);
        let (first, left_out, last) = ends(&cut);
        assert_eq!((first, left_out), (&b""[..], Some(2)));
        assert_eq!(last.len(), HALF);
    }
}
