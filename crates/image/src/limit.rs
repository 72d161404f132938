//! The bounds on what is read of an image (`docs/images.md`): an image is written by others.

/// Bounds that a caller may set otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that all layers of one image may have when they are decompressed.
    pub unpacked: u64,
    /// How many times as long as its compressed form a layer may be, once it is longer than
    /// [`RATIO_FROM`].
    pub ratio: u64,
    /// The most entries (files, directories, links, whiteouts) of all layers of one image.
    pub entries: u64,
    /// The most bytes of memory for what is kept of one image, all layers together: names, nodes, the
    /// targets of links, packed objects, whole files, hard links that wait for their file, and one copy of
    /// every path.
    pub kept: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked: 64 << 30, ratio: 200, entries: 8_000_000, kept: 1 << 30 }
    }
}

/// How long a decompressed layer must be for its ratio to count.
pub const RATIO_FROM: u64 = 1 << 30;
/// The longest path of an entry and the longest target of a link, in bytes (`PATH_MAX`).
pub const PATH: usize = 4096;
/// The longest name of a file, in bytes (`NAME_MAX`).
pub const NAME: usize = 255;
/// The most bytes of headers, long names and extended attributes that one entry may have.
pub const HEADER: u64 = 1 << 20;
/// The most pieces of a sparse file.
pub(crate) const SPARSE_PIECES: usize = 65_536;
/// The longest ELF object that is held in memory while it is read; a longer one is in a temporary file
/// without a name meanwhile.
pub(crate) const OBJECT_IN_MEMORY: u64 = 48 << 20;
/// The longest object that is kept whole.
pub(crate) const OBJECT_KEPT_WHOLE: usize = 16 << 20;
/// The longest other file that is kept whole.
pub(crate) const FILE_KEPT_WHOLE: u64 = 16 << 20;
/// How much of a script is kept: what the kernel reads of it (`BINPRM_BUF_SIZE`).
pub const SCRIPT_LINE: usize = 256;
/// The largest configuration of an image.
pub(crate) const CONFIG: u64 = 4 << 20;
/// How often a layer is read again for files that hard links name and nothing else shows.
pub(crate) const HARD_LINK_ROUNDS: usize = 8;
/// The most members of an archive that holds an image.
pub(crate) const ARCHIVE_MEMBERS: usize = 100_000;
/// The most bytes of the names of all its members and of what links among them lead to.
pub(crate) const ARCHIVE_NAMES: usize = 64 << 20;
/// The most notes about one image.
pub(crate) const NOTES: usize = 100;
