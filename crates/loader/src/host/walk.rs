//! The walk of a path (path_resolution(7)), for every file system that a path is walked in: this machine's,
//! an image's tree, a saved host, the scope of a document.
//!
//! [`walk`] takes one name after the other, follows links, and holds the kernel's limits. What is at a name, and what
//! lies above, a [`Cursor`] says: it holds the place that was reached, and ends the walk if it leads out of
//! what it knows. A link at the end is followed. A slash at the end asks for a directory.

use std::borrow::{Borrow, Cow};

use crate::host::WalkError;
use compat_sys::raw;

/// How many links the kernel follows in one path (MAXSYMLINKS).
pub const MAXIMUM_LINKS: usize = 40;

/// The longest path that the kernel takes, its NUL included (PATH_MAX).
pub const MAXIMUM_PATH: usize = 4096;

/// The longest name in a path that the kernel takes (NAME_MAX).
pub const MAXIMUM_NAME: usize = 255;

/// A path or a name in it: bytes, or the text that stands for them ([`raw`]).
pub trait Text: ToOwned {
    /// The bytes of the text itself.
    fn as_bytes(&self) -> &[u8];

    /// How many bytes of the file system it stands for.
    fn length(&self) -> usize;

    /// What lies between the slashes: names, and nothing before, behind or between two slashes.
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

/// What a directory has at a name.
pub enum Found<'a, T: Text + ?Sized> {
    /// A directory, or what is taken for one: the cursor is in it now.
    Directory,
    /// A link with its target: the cursor is where the target starts if that is relative.
    Link(Cow<'a, T>),
    /// Anything else: the cursor is at it, and the walk ends here.
    Other,
}

/// What of a path is still to be walked.
pub struct Ahead<'a, T: Text + ?Sized> {
    /// Last first.
    components: Vec<Cow<'a, T>>,
}

impl<'a, T: Text + ?Sized> Ahead<'a, T> {
    /// Whether the name before was the last of the path, without a slash behind it.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Whether nothing but slashes is left.
    pub fn is_blank(&self) -> bool {
        self.names() == 0
    }

    /// How many names are left.
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

/// Where a walk is in a file system.
pub trait Cursor<'a> {
    /// What its names are.
    type Text: Text + ?Sized + 'a;
    /// Why a walk ends before the end of its path: an error of the kernel, or what else the file system has to say.
    type Stop: From<WalkError>;

    /// Goes to a name (never `.` or `..`) in the directory that was reached.
    ///
    /// # Errors
    ///
    /// If nothing is there, or the walk ends for another reason.
    fn enter(
        &mut self,
        name: &Self::Text,
        ahead: &Ahead<'a, Self::Text>,
    ) -> Result<Found<'a, Self::Text>, Self::Stop>;

    /// Goes to the directory above (`..`); the root is above itself.
    ///
    /// # Errors
    ///
    /// If that leads out of what the cursor knows.
    fn leave(&mut self, ahead: &Ahead<'a, Self::Text>) -> Result<(), Self::Stop>;

    /// Goes to the root, from which an absolute link leads on.
    ///
    /// # Errors
    ///
    /// If that leads out of what the cursor knows.
    fn restart(&mut self, target: &Self::Text, ahead: &Ahead<'a, Self::Text>) -> Result<(), Self::Stop>;

    /// Whether a name is longer than names are.
    fn is_too_long(&self, name: &Self::Text) -> bool {
        name.length() > MAXIMUM_NAME
    }
}

/// Walks a path from where the cursor is. An empty path leads nowhere else: the caller decides if there is one.
///
/// # Errors
///
/// [`WalkError::TooLong`], [`WalkError::Loop`] and [`WalkError::NotDirectory`] at the kernel's limits; what else
/// ends the walk, the cursor says.
pub fn walk<'a, C: Cursor<'a>>(cursor: &mut C, path: &'a C::Text) -> Result<(), C::Stop> {
    if path.as_bytes().len() >= MAXIMUM_PATH {
        return Err(WalkError::TooLong.into());
    }
    let mut ahead = Ahead { components: Vec::new() };
    ahead.push(Cow::Borrowed(path));
    walk_on(cursor, ahead)
}

/// As [`walk`], along names rather than the text of a path.
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
