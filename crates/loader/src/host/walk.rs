//! The walk of a path (path_resolution(7)) in any file system: this machine's, an image's tree, a saved host,
//! or the scope of a document.
//!
//! [`walk`] takes one name after the other, follows links, and enforces the kernel's limits. A [`Cursor`] looks
//! up names and parent directories. It holds the current position, and stops the walk if the path leads out of
//! the known files. A link at the end is followed. A slash at the end requires a directory.

use std::borrow::{Borrow, Cow};

use crate::host::WalkError;
use compat_sys::raw;

/// The number of links that the kernel follows in one path (MAXSYMLINKS).
pub const MAXIMUM_LINKS: usize = 40;

/// The length limit of a path in the kernel, including the NUL (PATH_MAX).
pub const MAXIMUM_PATH: usize = 4096;

/// The longest name in a path that the kernel accepts (NAME_MAX).
pub const MAXIMUM_NAME: usize = 255;

/// A path or a name in it: bytes, or the text that represents them ([`raw`]).
pub trait Text: ToOwned {
    /// The bytes of the text itself.
    fn as_bytes(&self) -> &[u8];

    /// The number of bytes in the file system that it represents.
    fn length(&self) -> usize;

    /// The parts between the slashes. A part before, behind or between adjacent slashes is empty.
    fn components(&self) -> impl DoubleEndedIterator<Item = &Self>;
}

impl Text for [u8] {
    fn as_bytes(&self) -> &[u8] {
        self
    }

    fn length(&self) -> usize {
        self.len()
    }

    fn components(&self) -> impl DoubleEndedIterator<Item = &Self> {
        self.split(|byte| *byte == b'/')
    }
}

impl Text for str {
    fn as_bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn length(&self) -> usize {
        raw::length(self)
    }

    fn components(&self) -> impl DoubleEndedIterator<Item = &Self> {
        self.split('/')
    }
}

/// The entry of a directory at a name.
pub enum Found<'a, T: Text + ?Sized> {
    /// A directory, or an entry that counts as one. The cursor has entered it.
    Directory,
    /// A link with its target. The cursor is in the directory from which a relative target starts.
    Link(Cow<'a, T>),
    /// Any other file. The cursor is at it, and the walk ends here.
    Other,
}

/// The rest of a path that has not been walked.
pub struct Ahead<'a, T: Text + ?Sized> {
    /// In reverse order.
    components: Vec<Cow<'a, T>>,
}

impl<'a, T: Text + ?Sized> Ahead<'a, T> {
    /// Whether the previous name was the last of the path, without a slash behind it.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Whether only slashes are left.
    pub fn is_blank(&self) -> bool {
        self.names() == 0
    }

    /// The number of names that are left.
    pub fn names(&self) -> usize {
        self.components.iter().filter(|component| !component.as_bytes().is_empty()).count()
    }

    /// The components that are left, the next one first.
    pub fn components(&self) -> impl Iterator<Item = &T> {
        self.components.iter().rev().map(|component| &**component)
    }

    fn push(&mut self, path: Cow<'a, T>) {
        match path {
            Cow::Borrowed(path) => self.components.extend(path.components().rev().map(Cow::Borrowed)),
            Cow::Owned(path) => {
                let components = path.borrow().components().rev();
                self.components.extend(components.map(|component| Cow::Owned(component.to_owned())));
            }
        }
    }
}

/// The position of a walk in a file system.
pub trait Cursor<'a> {
    /// The type of its names.
    type Text: Text + ?Sized + 'a;
    /// The reason for a walk to end early: an error of the kernel, or a condition of the file system.
    type Stop: From<WalkError>;

    /// Enters a name (never `.` or `..`) in the current directory.
    ///
    /// # Errors
    ///
    /// If the name does not exist, or the walk ends for another reason.
    fn enter(
        &mut self,
        name: &Self::Text,
        ahead: &Ahead<'a, Self::Text>,
    ) -> Result<Found<'a, Self::Text>, Self::Stop>;

    /// Moves to the parent directory (`..`). The root is its own parent.
    ///
    /// # Errors
    ///
    /// If the parent is outside the files that the cursor knows.
    fn leave(&mut self, ahead: &Ahead<'a, Self::Text>) -> Result<(), Self::Stop>;

    /// Moves to the root, from which an absolute link continues.
    ///
    /// # Errors
    ///
    /// If the root is outside the files that the cursor knows.
    fn restart(&mut self, target: &Self::Text, ahead: &Ahead<'a, Self::Text>) -> Result<(), Self::Stop>;

    /// Whether a name exceeds the limit.
    fn is_too_long(&self, name: &Self::Text) -> bool {
        name.length() > MAXIMUM_NAME
    }
}

/// Walks a path from the current position. An empty path stays there, and the caller decides whether it exists.
///
/// # Errors
///
/// [`WalkError::TooLong`], [`WalkError::Loop`] and [`WalkError::NotDirectory`] at the kernel's limits, and the
/// errors of the cursor.
pub fn walk<'a, C: Cursor<'a>>(cursor: &mut C, path: &'a C::Text) -> Result<(), C::Stop> {
    if path.as_bytes().len() >= MAXIMUM_PATH {
        return Err(WalkError::TooLong.into());
    }
    let mut ahead = Ahead { components: Vec::new() };
    ahead.push(Cow::Borrowed(path));
    walk_on(cursor, ahead)
}

/// As [`walk`], for names instead of the text of a path.
///
/// # Errors
///
/// As [`walk`].
pub fn walk_names<'a, C: Cursor<'a>>(
    cursor: &mut C,
    names: impl DoubleEndedIterator<Item = &'a C::Text>,
) -> Result<(), C::Stop> {
    walk_on(cursor, Ahead { components: names.rev().map(Cow::Borrowed).collect() })
}

fn walk_on<'a, C: Cursor<'a>>(cursor: &mut C, mut ahead: Ahead<'a, C::Text>) -> Result<(), C::Stop> {
    let mut links = 0;
    while let Some(name) = ahead.components.pop() {
        match name.as_bytes() {
            b"" | b"." => continue,
            b".." => {
                cursor.leave(&ahead)?;
                continue;
            }
            _ if cursor.is_too_long(&name) => return Err(WalkError::TooLong.into()),
            _ => {}
        }
        match cursor.enter(&name, &ahead)? {
            Found::Directory => {}
            Found::Other if ahead.is_empty() => {}
            Found::Other => return Err(WalkError::NotDirectory.into()),
            Found::Link(target) => {
                links += 1;
                if links > MAXIMUM_LINKS {
                    return Err(WalkError::Loop.into());
                }
                if target.as_bytes().len() >= MAXIMUM_PATH {
                    return Err(WalkError::TooLong.into());
                }
                if target.as_bytes().first() == Some(&b'/') {
                    cursor.restart(&target, &ahead)?;
                }
                ahead.push(target);
            }
        }
    }
    Ok(())
}
