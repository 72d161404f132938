//! The shares of a partial mirror: slow file systems, and directories that the user named.
//!
//! The types are those of the mount table (proc_pid_mountinfo(5), filesystems(5)). A FUSE file system has the type
//! `fuse`, or `fuse.` and the name of its program.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::mount_table::{Mount, lies_in, parse};
use super::plan::{Plan, SHARE_MIRROR, is_mirror};

/// The types of file systems on the network and of file systems that a host provides to a guest. FUSE is not in this
/// list. `afs` is not a share (`plan`).
const NETWORK: &[&str] = &[
    "9p",
    "beegfs",
    "beegfs_nodev",
    "ceph",
    "cifs",
    "dvs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "orangefs",
    "panfs",
    "pvfs2",
    "smb3",
    "smbfs",
    "virtiofs",
    "wekafs",
];

/// FUSE file systems that are views of this machine: the mirrors of this program, archives, overlays, and services of a
/// desktop.
const VIEWS: &[&str] = &[
    "fuse.archivemount",
    "fuse.compat",
    "fuse.fuse-overlayfs",
    "fuse.fuseiso",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fuse.squashfuse",
    "fuse.squashfuse_ll",
    "fuse.vmware-vmblock",
    SHARE_MIRROR,
];

/// The parts of the file system that the mirror shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mirrored {
    /// Everything except for the file systems of the kernel. The mirror becomes the root of the command.
    #[default]
    Everything,
    /// Only shares. The command keeps its root, and each share is covered by its mirror.
    ///
    /// A file system that is mounted inside a share is bound, unless it is a share itself. If `/` is a share, the
    /// mirror becomes the root of the command.
    Shares {
        /// Whether the file systems of the network and of FUSE are shares ([`is_network`]).
        network: bool,
        /// Further shares: directories or mount points. `/` stands for all file systems except for those of the kernel
        /// and those in memory.
        further: Vec<PathBuf>,
    },
}

/// A share, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The directory.
    pub place: PathBuf,
    /// The type of its file system.
    pub kind: String,
    /// The source of its mount, such as a device or `server:/path`.
    pub source: String,
    /// Whether the file system is on the network or FUSE.
    pub network: bool,
}

impl Share {
    pub(super) fn of(mount: &Mount) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            place: super::shown(&mount.place).to_owned(),
            kind: text(&mount.kind),
            source: text(&mount.source),
            network: is_network(&mount.kind),
        }
    }
}

impl Mirrored {
    /// Follows the symbolic links in the paths of the further shares.
    ///
    /// # Errors
    ///
    /// If one of them does not exist or is not a directory.
    pub fn resolved(&self) -> Result<Self, Error> {
        let Self::Shares { network, further } = self else { return Ok(self.clone()) };
        let further = further.iter().map(|path| resolved(path)).collect::<Result<_, _>>()?;
        Ok(Self::Shares { network: *network, further })
    }

    /// Whether this resolved path is one of the further shares.
    pub(super) fn names(&self, path: &Path) -> bool {
        matches!(self, Self::Shares { further, .. } if further.iter().any(|share| share == path))
    }

    /// Whether only shares are mirrored.
    pub(super) fn is_partial(&self) -> bool {
        matches!(self, Self::Shares { .. })
    }
}

fn resolved(path: &Path) -> Result<PathBuf, Error> {
    let failed = |source| Error::Share { path: path.to_owned(), source };
    let resolved = path.canonicalize().map_err(failed)?;
    if !resolved.metadata().map_err(failed)?.is_dir() {
        return Err(failed(std::io::Error::from_raw_os_error(libc::ENOTDIR)));
    }
    Ok(resolved)
}

/// Whether this type of file system is on the network, provided by a host to its guest, or FUSE.
///
/// FUSE file systems that are only views of this machine are not included, such as `fuse.lxcfs` or a mirror of this
/// program.
pub fn is_network(kind: &[u8]) -> bool {
    let is_in = |kinds: &[&str]| kinds.iter().any(|known| known.as_bytes() == kind);
    is_in(NETWORK) || ((kind == b"fuse" || kind.starts_with(b"fuse.")) && !is_in(VIEWS))
}

/// Returns the shares of a mount table (`/proc/self/mountinfo`), each once, by their paths. The paths in `wanted` must
/// be [resolved](Mirrored::resolved).
///
/// # Errors
///
/// If a further share cannot be mirrored.
pub fn shares(table: &[u8], wanted: &Mirrored) -> Result<Vec<Share>, Error> {
    let plan = match wanted {
        Mirrored::Everything => Plan::new(table, &[], |_| true),
        Mirrored::Shares { network, further } => Plan::of_shares(table, *network, further, &[], |_| true)?,
    };
    Ok(plan.mirrors().map(Share::of).collect())
}

/// Returns the network file systems of a mount table that are never mirrored: `afs` decides by session tokens, which a
/// server does not have.
pub fn never_mirrored(table: &[u8]) -> Vec<Share> {
    let mounts = parse(table);
    let is_visible = |mount: &&Mount| {
        !mounts.iter().any(|mirror| is_mirror(mirror) && lies_in(&mount.place, &mirror.place))
    };
    let afs = mounts.iter().filter(|mount| mount.kind == b"afs").filter(is_visible);
    afs.map(|mount| Share { network: true, ..Share::of(mount) }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn network_file_systems_and_fuse_are_known_and_views_are_not() {
        for kind in ["nfs", "nfs4", "lustre", "9p", "fuse", "fuse.sshfs", "fuse.glusterfs", "wekafs"] {
            assert!(is_network(kind.as_bytes()), "{kind}");
        }
        for kind in ["ext4", "tmpfs", "fuseblk", "fusectl", "fuse.compat", "fuse.lxcfs", "afs", "nfsd"] {
            assert!(!is_network(kind.as_bytes()), "{kind}");
        }
    }

    #[test]
    fn links_in_the_path_of_a_share_are_followed_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().canonicalize().expect("it is there");
        fs::create_dir(real.join("software")).expect("a directory");
        fs::write(real.join("file"), "").expect("a file");
        symlink("software", real.join("link")).expect("a link");
        let resolve = |name: &str| {
            Mirrored::Shares { network: false, further: vec![real.join(name)] }.resolved().map_err(|error| {
                let source = std::error::Error::source(&error).expect("a reason").to_string();
                format!("{error}: {source}").replace(&*real.to_string_lossy(), "…")
            })
        };
        let expected = Mirrored::Shares { network: false, further: vec![real.join("software")] };
        assert_eq!(resolve("link"), Ok(expected));
        let error = |name| resolve(name).expect_err("it is refused");
        assert_eq!(error("file"), "could not mirror the share …/file: Not a directory (os error 20)");
        assert_eq!(
            error("none"),
            "could not mirror the share …/none: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn shares_are_listed_with_their_file_systems() {
        let table = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n35 27 0:51 / /data rw - nfs4 server:/x rw\n\
            36 27 0:52 / /afs rw - afs none rw\n";
        let network = Mirrored::Shares { network: true, further: vec!["/opt".into()] };
        let found = shares(table, &network).expect("they can be mirrored");
        let shown: Vec<_> = found
            .iter()
            .map(|share| (share.place.to_str().unwrap_or(""), &*share.kind, &*share.source, share.network))
            .collect();
        assert_eq!(shown, [("/data", "nfs4", "server:/x", true), ("/opt", "ext4", "/dev/vda", false)]);
        let none = Mirrored::Shares { network: false, further: Vec::new() };
        assert_eq!(shares(table, &none).expect("nothing"), []);
        assert_eq!(shares(table, &Mirrored::Everything).expect("all").len(), 2);
        assert_eq!(never_mirrored(table).iter().map(|share| &*share.kind).collect::<Vec<_>>(), ["afs"]);
    }
}
