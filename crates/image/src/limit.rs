//! The limits on images (`docs/images.md`): images are untrusted.

/// Limits that a caller may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most decompressed bytes of all layers of one image.
    pub unpacked: u64,
    /// The highest ratio of a layer's decompressed to its compressed size, for layers longer than
    /// [`RATIO_FROM`].
    pub ratio: u64,
    /// The most entries (files, directories, links, whiteouts) of all layers of one image.
    pub entries: u64,
    /// The most bytes of memory for one image, all layers together: names, nodes, link targets, packed objects,
    /// whole files, hard links that wait for their file, and one copy of every path.
    pub kept: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked: 64 << 30, ratio: 200, entries: 8_000_000, kept: 1 << 30 }
    }
}

/// The decompressed size from which a layer's ratio is checked.
pub const RATIO_FROM: u64 = 1 << 30;
/// The longest path of an entry and the longest target of a link, in bytes (`PATH_MAX`).
pub const PATH: usize = 4096;
/// The longest name of a file, in bytes (`NAME_MAX`).
pub const NAME: usize = 255;
/// The most bytes of headers, long names and extended attributes that one entry may have.
pub const HEADER: u64 = 1 << 20;
/// The most pieces of a sparse file.
pub(crate) const SPARSE_PIECES: usize = 65_536;
/// The longest ELF object that is read into memory. A longer one is read through an unnamed temporary file.
pub(crate) const OBJECT_IN_MEMORY: u64 = 48 << 20;
/// The longest object that is kept whole.
pub(crate) const OBJECT_KEPT_WHOLE: usize = 16 << 20;
/// The longest other file that is kept whole.
pub(crate) const FILE_KEPT_WHOLE: u64 = 16 << 20;
/// The kept length of a script's first line, which is also the number of bytes that the kernel reads
/// (`BINPRM_BUF_SIZE`).
pub const SCRIPT_LINE: usize = 256;
/// The largest configuration of an image.
pub(crate) const CONFIG: u64 = 4 << 20;
/// The most times that a layer is read again for the hidden targets of hard links.
pub(crate) const HARD_LINK_ROUNDS: usize = 8;
/// The most members of an archive that contains an image.
pub(crate) const ARCHIVE_MEMBERS: usize = 100_000;
/// The most bytes of all member names and link targets of an archive.
pub(crate) const ARCHIVE_NAMES: usize = 64 << 20;
/// The most notes about one image.
pub(crate) const NOTES: usize = 100;
